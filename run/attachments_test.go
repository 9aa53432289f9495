package run

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"weak"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
)

var (
	photo = backend.Attachment{Name: "a b.png", Type: "image/png", Data: []byte("\x89PNG\n\x00")}
	paper = backend.Attachment{Name: "notes", Type: "text/plain", Data: []byte("some notes")}
)

// toldOfBoth is what the tests' backend writes of these two.
const toldOfBoth = "a b.png image/png iVBORwoA\nnotes text/plain c29tZSBub3Rlcw==\n"

// What goes with a prompt reaches the CLI with it, in order, and is nowhere any more when
// it has: not in the daemon's memory, nor in what is kept of the run.
func TestAttachments_GoWithThePrompt(t *testing.T) {
	for _, kept := range []bool{false, true} {
		m := open(t, func(o *Options) { o.Backends = func(string) (backend.Backend, bool) { return agent{}, true } })
		dir := t.TempDir()
		var seen atomic.Pointer[backend.Request]
		mine := backend.Attachment{Name: "large", Type: "image/gif", Data: bytes.Repeat([]byte("x"), 16<<10)}
		gone := weak.Make(&mine.Data[0])
		s := script(`read -r hello; read -r prompt; read -r a; read -r b; read -r c
			echo "t $prompt"; printf '%s\n%s\n' "$a" "$b" > `+dir+`/told; touch `+dir+`/read
			until [ -e `+dir+`/go ]; do sleep 0.01; done; echo "d stop"`, func(s *Spec) {
			s.ID, s.Durable, s.Backend = "r", kept, agent{seen: &seen}
			s.Request.Prompt, s.Request.Attachments = "what is it", []backend.Attachment{photo, paper, mine}
		})
		r := start(t, m, s)
		if s.Request.Converse {
			t.Error("the caller's request was changed")
		}
		if q := seen.Load(); !q.Converse || !cmp.Equal(q.Attachments, s.Request.Attachments) {
			t.Errorf("asked for a command: %+v", q)
		}
		seen.Store(nil)
		s, mine = Spec{}, backend.Attachment{}
		await(t, filepath.Join(dir, "read"))
		if got := read(t, filepath.Join(dir, "told")); got != toldOfBoth {
			t.Errorf("told %q", got)
		}
		for end := time.Now().Add(10 * time.Second); gone.Value() != nil; time.Sleep(time.Millisecond) {
			if runtime.GC(); time.Now().After(end) {
				t.Error("an attachment that its CLI has read is in memory still")
				break
			}
		}
		checkpoint, err := os.ReadFile(m.state.Run("r").StorePath("checkpoint.json"))
		if kept && (err != nil || !bytes.Contains(checkpoint, []byte(`"Converse":true`)) || bytes.Contains(checkpoint, []byte("some notes"))) {
			t.Errorf("checkpoint: %v: %s", err, checkpoint)
		}
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		verdict(t, r, outcome.Completed)
		wait(t, "removal", r.done)
		_ = filepath.WalkDir(m.state.Path, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.Type().IsRegular() && strings.Contains(read(t, path), "a b.png") {
				t.Errorf("durable %v: %s tells of it still", kept, path)
			}
			return err
		})
		if again, err := m.Get("r"); err != nil || text(events(t, again.Follow(0))) != "what is it" {
			t.Errorf("durable %v: read again: %v", kept, err)
		}
	}
}

func await(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", path)
		}
	}
}

// A CLI is spoken to where something goes with its prompt, or its answer keeps to a form,
// and as it was where nothing does.
func TestConverse(t *testing.T) {
	m := open(t)
	for name, test := range map[string]struct {
		of   backend.Request
		want bool
	}{
		"nothing":    {backend.Request{Prompt: "p", Converse: true}, false},
		"an image":   {backend.Request{Attachments: []backend.Attachment{photo}}, true},
		"a schema":   {backend.Request{Schema: json.RawMessage(`{}`)}, true},
		"any object": {backend.Request{AnyObject: true}, true},
	} {
		var seen atomic.Pointer[backend.Request]
		r := start(t, m, script("echo 'd stop'", func(s *Spec) { s.Backend, s.Request = agent{seen: &seen}, test.of }))
		verdict(t, r, outcome.Completed)
		if q := seen.Load(); q.Converse != test.want {
			t.Errorf("%s: %+v", name, q)
		}
	}
}

// A CLI that has forgotten its session is told the last turn's attachments with the whole
// conversation, and that process not those of the first one.
func TestAttachments_ToldAnew(t *testing.T) {
	for _, kept := range []bool{false, true} {
		m := open(t)
		remembering(m, t)
		dir := t.TempDir()
		cli := `if [ -n "$CLI_SESSION" ]; then echo "u no session"; sleep 300; fi
			echo "s new"; head -n 4 > ` + dir + `/told; echo "d stop"`
		r := start(t, m, script(cli, inSession("talk", func(s *Spec) {
			s.ID, s.Durable = "r", kept
			s.Request.Prompt, s.Request.Attachments = "last", []backend.Attachment{{Name: "first", Data: []byte("1")}}
			s.Fresh = &PromptText{Prompt: "whole", Attachments: []backend.Attachment{photo, paper}}
		})))
		verdict(t, r, outcome.Completed)
		wait(t, "removal", r.done)
		if got := read(t, filepath.Join(dir, "told")); got != "hello\nwhole\n"+toldOfBoth {
			t.Errorf("durable %v: told %q", kept, got)
		}
		left := names(t, m.state.Store.Runs())
		if kept {
			left = names(t, m.state.Run("r").StorePath(""))
		}
		if want := map[bool][]string{true: {"checkpoint.json", "end.json", "run.json"}}[kept]; !cmp.Equal(left, want) {
			t.Errorf("left in the store: %q", left)
		}
	}
}

// The next daemon starts such a CLI anew from what this one has kept of it.
func TestAttachments_ToldAnewByTheNextDaemon(t *testing.T) {
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	d := st.Run("r")
	fresh := &PromptText{Prompt: "whole", Attachments: []backend.Attachment{photo, paper}}
	if err := d.Make(nil); err != nil {
		t.Fatal(err)
	}
	if err := d.SaveFresh(fresh); err != nil {
		t.Fatal(err)
	}
	got, err := d.LoadFresh(&store.Checkpoint{Fresh: store.LengthOf(fresh)})
	if diff := cmp.Diff(fresh, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
