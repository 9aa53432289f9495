package ui

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// patience bounds every wait: the machine may be busy.
const patience = 60 * time.Second

// browser is a headless Chromium with one tab. What a page logs as an error or
// throws fails the test.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	errors []string
	quiet  bool // errors are what the test is about
}

func open(t *testing.T) *browser {
	t.Helper()
	program := os.Getenv("PENSTOCK_CHROMIUM")
	if program == "" {
		program, _ = exec.LookPath("chromium")
	}
	if program == "" {
		t.Skip("no chromium on the PATH: apt-get install chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU, // as root Chromium has no sandbox of its own
		chromedp.WindowSize(1360, 940), chromedp.WSURLReadTimeout(patience),
		chromedp.Flag("disable-dev-shm-usage", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(cancel)
	// A Chromium newer than the protocol's description sends events that have no name there.
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	chromedp.ListenTarget(ctx, b.heard)
	if err := chromedp.Run(ctx, log.Enable(), runtime.Enable()); err != nil {
		t.Fatalf("chromium: %v", err)
	}
	t.Cleanup(b.wellBehaved)
	return b
}

func (b *browser) heard(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.errors = append(b.errors, e.ExceptionDetails.Error())
	case *log.EventEntryAdded:
		if e.Entry.Level == log.LevelError && !b.quiet {
			b.errors = append(b.errors, fmt.Sprintf("%s %s", e.Entry.Text, e.Entry.URL))
		}
	}
}

// wellBehaved: no exception, no refused resource, nothing that the policy stopped.
func (b *browser) wellBehaved() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.errors {
		b.t.Errorf("the page: %s", e)
	}
}

// expectErrors: from now on refused requests are part of the test.
func (b *browser) expectErrors() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.quiet = true
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		b.t.Fatalf("chromium: %v", err)
	}
}

// script is the value of a JavaScript expression.
func script[T any](b *browser, expression string) (v T) {
	b.t.Helper()
	b.do(chromedp.Evaluate(expression, &v))
	return v
}

// until waits for a JavaScript condition.
func (b *browser) until(what, condition string) {
	b.t.Helper()
	end := time.Now().Add(patience)
	for !script[bool](b, "Boolean("+condition+")") {
		if time.Now().After(end) {
			b.t.Fatalf("never: %s\nthe page says:\n%s", what, b.text("body"))
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (b *browser) text(selector string) string {
	b.t.Helper()
	return script[string](b, fmt.Sprintf("document.querySelector(%q).innerText", selector))
}

func (b *browser) press(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(selector, chromedp.ByQuery, chromedp.NodeVisible))
}

func row(table, run string) string {
	return fmt.Sprintf("document.querySelector('#%s tr[data-run=%q]')", table, run)
}

// picture writes what is seen to PENSTOCK_UI_SHOTS, for people to look at.
func (b *browser) picture(name string) {
	dir := os.Getenv("PENSTOCK_UI_SHOTS")
	if dir == "" {
		return
	}
	var png []byte
	b.do(chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(dir+"/"+strings.ReplaceAll(name, "/", "-")+".png", png, 0o644); err != nil {
		b.t.Error(err)
	}
}
