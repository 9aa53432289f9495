// Package ui drives the live page in headless Chromium, against a daemon with
// real runs. A module of its own: what steers a browser is no part of the product.
package ui

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"penstock/test/daemon"
)

// hostile is what nobody's browser may take for more than words.
const hostile = `</td><img/src=x/onerror=window.hacked=1><script>window.hacked=2</script>`

// two backends that say what they are told to: one line of text, then as the
// prompt's first word says.
func config(t *testing.T) string {
	agent := filepath.Join(t.TempDir(), "agent")
	body := "#!/bin/sh\nread how\necho '{\"reasoning\":\"<b>hm</b>\"}'\n" +
		`echo '{"tool":{"name":"<i>Bash</i>","status":"completed","input":"<u>ls</u>"}}'` + "\n" +
		`echo '{"text":"` + strings.ReplaceAll(hostile, `"`, `\"`) + `"}'` + "\n" +
		"case $how in hold) exec sleep 300;; fail) echo '" + hostile + "' >&2; exit 3;; esac\necho '{\"done\":true}'\n"
	if err := os.WriteFile(agent, []byte(body), 0o755); err != nil {
		t.Fatal(err)
	}
	return "drain_timeout = \"1s\"\n[budget]\nmax_runs = 2\nmemory = \"2GiB\"\n[limits]\nmemory_max = \"256MiB\"\npids_max = 64\n" +
		"[backends.agent]\nkind = \"jsonl\"\ncommand = [" + `"` + agent + `"]` + "\n"
}

// start sends a request under a name and leaves it: the run is durable.
func start(t *testing.T, d *daemon.Daemon, id, model, prompt string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	req := d.Request(ctx, daemon.Body(model, prompt, map[string]any{"stream": true}))
	req.Header.Set("X-Run-Id", id)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
}

func TestPage(t *testing.T) {
	b := open(t)
	d := daemon.Start(t, daemon.Options{Config: config(t)})
	wild := "agent/" + hostile
	start(t, d, "wild", wild, "hold")
	start(t, d, "big", "demo", "/alloc 200MiB /sleep 300")
	start(t, d, "later", "demo", "waits")
	b.do(chromedp.Navigate(d.URL + "/ui"))

	b.until("two runs", "document.querySelectorAll('#running tbody tr').length == 2")
	b.until("one request waits", row("waiting", "later")+"?.innerText.includes('place 1')")
	b.until("memory against its cap", row("running", "big")+"?.querySelector('[role=meter]').getAttribute('aria-valuenow') >= 200*1024*1024")
	width := script[string](b, row("running", "big")+".querySelector('.bar i').style.width")
	if !strings.HasPrefix(width, "7") && !strings.HasPrefix(width, "8") {
		t.Errorf("200 MiB of 256 are a bar of %s", width)
	}
	if got := script[string](b, "document.getElementById('h-slots').innerText"); got != "2 / 2" {
		t.Errorf("slots %q", got)
	}
	b.picture("light")
	t.Run("cancel", func(t *testing.T) { b.t = t; cancelled(b) })
	t.Run("follow", func(t *testing.T) { b.t = t; followed(b, d) })
	t.Run("hostile text stays text", func(t *testing.T) { b.t = t; harmless(b, wild) })
	t.Run("small", func(t *testing.T) { b.t = t; small(b) })
	t.Run("gone", func(t *testing.T) { b.t = t; gone(b, d) })
	b.t = t
}

// cancelled ends a run by hand, after a question.
func cancelled(b *browser) {
	b.press(`#running tr[data-run="big"] td.do button`)
	b.until("a question", "document.getElementById('cancel').open")
	if words := b.text("#cancel"); !strings.Contains(words, "big: demo for anonymous") {
		b.t.Errorf("the question is %q", words)
	}
	if on := script[string](b, "document.activeElement.innerText"); on != "Let it be" {
		b.t.Errorf("Enter would press %q", on)
	}
	b.press("#cancel [data-close]")
	b.until("no question", "!document.getElementById('cancel').open")
	if !script[bool](b, "Boolean("+row("running", "big")+")") {
		b.t.Error("it was cancelled without a yes")
	}
	b.press(`#running tr[data-run="big"] td.do button`)
	b.press("#cancel-yes")
	b.until("why it ended", row("ended", "big")+"?.querySelector('.chip').innerText == 'cancelled'")
	b.until("the next one's turn", row("ended", "later")+"?.querySelector('.chip').innerText == 'completed'")
}

// followed reads a live run, and one that failed.
func followed(b *browser, d *daemon.Daemon) {
	start(b.t, d, "failed", "agent", "fail")
	b.until("it failed", row("ended", "failed")+"?.innerText.includes('cli_error')")
	b.press(`#running tr[data-run="wild"] button.id`)
	b.until("what it said", "document.getElementById('follow-text').innerText.includes('onerror')")
	b.until("that this is all so far", "document.getElementById('follow-state').innerText == 'live'")
	if words := b.text("#follow-text"); !strings.Contains(words, "<b>hm</b>") || !strings.Contains(words, "<i>Bash</i> completed <u>ls</u>") {
		b.t.Errorf("output %q", words)
	}
	b.picture("follow")
	b.press("#follow [data-close]")
	b.press(`#ended tr[data-run="failed"] button.id`)
	b.until("why it ended", "document.querySelector('#follow-text .error')?.innerText.includes('cli_error')")
	b.until("its facts", "document.getElementById('follow-facts').innerText.includes('status 3')")
	b.until("its end", "document.getElementById('follow-state').innerText.includes('has ended')")
}

// harmless runs while the failed run is followed and the wild one is listed.
func harmless(b *browser, model string) {
	if got := script[string](b, row("running", "wild")+".cells[2].textContent"); got != model {
		b.t.Errorf("the model is shown as %q", got)
	}
	if !strings.Contains(script[string](b, "document.body.textContent"), "window.hacked=2") {
		b.t.Error("the hostile text is not on the page")
	}
	if n := script[int](b, "document.querySelectorAll('img, main script, dialog script, td b i, #follow-text b, #follow-text i, #follow-text u').length"); n > 0 {
		b.t.Errorf("%d elements came out of text", n)
	}
	if script[bool](b, "'hacked' in window") {
		b.t.Error("text was run")
	}
	// And were it ever made into markup, the policy would stop it.
	refused := `(() => { try { document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.hacked=3'>"); return false } catch { return true } })()`
	b.expectErrors() // the policy says so in the log
	if !script[bool](b, refused) || script[bool](b, "'hacked' in window") {
		b.t.Error("markup was taken")
	}
	b.press("#follow [data-close]")
}

// small is a phone, in the dark.
func small(b *browser) {
	b.do(emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: "dark"}}))
	b.picture("dark")
	b.do(chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	if over := script[int](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
		b.t.Errorf("the page is %d pixels wider than a phone", over)
	}
	b.picture("phone")
	b.do(chromedp.EmulateViewport(1360, 940))
}

// gone is said plainly, and so is the return.
func gone(b *browser, d *daemon.Daemon) {
	b.expectErrors()
	d.Stop()
	b.until("word that it is gone", "!document.getElementById('gone').hidden && document.getElementById('gone').innerText.includes('does not answer')")
	if s := b.text("#status"); s != "gone" {
		b.t.Errorf("status %q", s)
	}
	b.picture("gone")
	d.Restart(b.t)
	b.until("that it is back", "document.getElementById('gone').hidden && document.getElementById('status').innerText == 'ok'")
}

func TestToken(t *testing.T) {
	b := open(t)
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("review-bot:s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := daemon.Start(t, daemon.Options{Config: "tokens_file = \"" + file + "\"\n" + config(t)})
	b.expectErrors() // refusals are logged by the browser
	b.do(chromedp.Navigate(d.URL + "/ui"))
	b.until("the question for a token", "document.getElementById('token').open")
	b.until("health, which needs none", "document.getElementById('h-slots').innerText == '0 / 2'")
	b.picture("token")
	b.do(chromedp.SendKeys("#token-value", "wrong\r", chromedp.ByQuery))
	b.until("that it is not known", "document.getElementById('token').open && document.getElementById('token-why').innerText.includes('not known')")
	b.do(chromedp.SendKeys("#token-value", "s3cret\r", chromedp.ByQuery))
	b.until("the runs", "document.getElementById('seen').innerText.startsWith('live')")
	if where := script[string](b, "JSON.stringify([localStorage.length, document.cookie, location.href.includes('s3cret'), sessionStorage.length])"); where != `[0,"",false,1]` {
		t.Errorf("the token is kept in %s", where)
	}
	b.do(chromedp.Reload())
	b.until("the runs, after a reload", "document.getElementById('seen').innerText.startsWith('live')")
	b.press("#token-open")
	b.press("#token-forget")
	b.until("that it is forgotten", "sessionStorage.length == 0 && document.getElementById('seen').innerText.includes('token')")
}
