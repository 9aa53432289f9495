package run

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/backend/structured"
	"penstock/outcome"
)

var wantsNumber = backend.Request{Prompt: "p", Schema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)}

// plain is a program of a kind without a last word, or of event lines.
func plain(t *testing.T, kind string) func(*Spec) {
	b, err := kinds.New(backend.Config{Name: kind, Kind: kind})
	if err != nil {
		t.Fatal(err)
	}
	return func(s *Spec) { s.Backend, s.Request = b, wantsNumber }
}

// A program is held to a schema as its kind ends: by its exit, or by its last word.
func TestStructured_Programs(t *testing.T) {
	m := open(t)
	for _, row := range []struct {
		name, kind, script string
		cause              outcome.Cause
		says, text         string
	}{
		{"valid", "exec", `echo "So:"; echo '{"n": 7}'`, outcome.Completed, "", `{"n": 7}`},
		{"invalid", "exec", `echo '{"n":"7"}'`, outcome.InvalidOutput, "n: has to be of type integer, is string", ""},
		{"nothing", "exec", `:`, outcome.InvalidOutput, "is empty", ""},
		{"half of it, and a bad end", "exec", `echo '{"n":'; echo boom >&2; exit 3`, outcome.CLIError, "boom", ""},
		{"half of it, and killed", "exec", `echo '{"n":'; kill -9 $$`, outcome.Killed, "SIGKILL", ""},
		{"all of it, and a bad end", "exec", `echo '{"n":7}'; exit 3`, outcome.CLIError, "status 3", `{"n":7}`},
		{"valid", "jsonl", `echo '{"text":"{\"n\":"}'; echo '{"text":"7}"}'; echo '{"done":true}'`, outcome.Completed, "", `{"n":7}`},
		{"invalid", "jsonl", `echo '{"text":"no"}'; echo '{"done":true}'`, outcome.InvalidOutput, "has no JSON", ""},
		{"cut", "jsonl", `echo '{"text":"{\"n\""}'; echo '{"done":"length"}'`, outcome.Completed, "length limit", `{"n"`},
		{"no last word", "jsonl", `echo '{"text":"{\"n\":7}"}'`, outcome.CLIError, "without saying it was done", ""},
		{"killed", "jsonl", `echo '{"text":"{\"n\":7}"}'; kill -9 $$`, outcome.Killed, "SIGKILL", ""},
	} {
		r := start(t, m, script(row.script, plain(t, row.kind)))
		v := verdict(t, r, row.cause)
		if !strings.Contains(v.Message, row.says) {
			t.Errorf("%s %s: %q, want %q in it", row.kind, row.name, v.Message, row.says)
		}
		if got := text(events(t, r.Follow(0))); got != row.text {
			t.Errorf("%s %s: text %q, want %q", row.kind, row.name, got, row.text)
		}
	}
}

// twice is an agent that can be told another prompt.
type twice struct{ agent }

func (twice) Machine(backend.Request) backend.Machine {
	return &toldTwice{letters{prompt: "p", talks: true}}
}

func (twice) Command(backend.Request) (backend.Command, error) {
	return backend.Command{Input: backend.Conversation}, nil
}

func (twice) Features() backend.Features { return backend.Features{JSONSchema: true} }

type toldTwice struct{ letters }

func (*toldTwice) Reprompt(text string) [][]byte {
	return [][]byte{[]byte("again: " + strings.ReplaceAll(text, "\n", " "))}
}

// The second prompt is told once, and every reading has the same events.
func TestStructured_AskedOnceMore(t *testing.T) {
	b, dir := structured.New(twice{}), t.TempDir()
	m := open(t)
	r := start(t, m, script(secondTurn(dir), func(s *Spec) { s.Backend, s.Request = b, wantsNumber }))
	await(t, filepath.Join(dir, "asked"))
	goOn(t, dir)
	verdict(t, r, outcome.Completed)
	live := events(t, r.Follow(0))
	if got := text(live); got != `{"n":7}` {
		t.Errorf("text %q", got)
	}
	if diff := cmp.Diff(live, events(t, r.Follow(0))); diff != "" {
		t.Errorf("read again (-first +now):\n%s", diff)
	}
	toldOnce(t, dir)
}

// A daemon that is killed while the CLI answers the second prompt is followed by one that
// reads the first answer again, and doesn't ask again.
func TestKilled_WhileItIsAskedOnceMore(t *testing.T) {
	if spawner == nil {
		t.Skip("this machine gives us no cgroup v2 tree to make groups in (see the top of the output)")
	}
	state, dir := t.TempDir(), t.TempDir()
	environ := []string{
		daemonState + "=" + state, fmt.Sprintf("%s=run-test-killed-%d-%d", daemonGroup, os.Getpid(), rand.Uint32()),
		daemonSchema + "=" + string(wantsNumber.Schema), "RUN_TEST_BARE=1",
	}
	first, _ := daemonProcess(t, append(environ, daemonScript+"="+secondTurn(dir))...)
	await(t, filepath.Join(dir, "asked"))
	if err := first.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = first.Wait()
	next, says := daemonProcess(t, environ...)
	goOn(t, dir)
	if cause, err := says.ReadString('\n'); cause != string(outcome.Completed)+"\n" {
		t.Errorf("%q, %v", cause, err)
	}
	if err := next.Wait(); err != nil {
		t.Error(err)
	}
	toldOnce(t, dir)
}

// secondTurn is a CLI that answers wrongly first, and once more when dir lets it go.
func secondTurn(dir string) string {
	return fmt.Sprintf(`read -r hello; read -r prompt; echo "2 looking"; echo 't {"n":'; echo 't "7"}'; echo "d stop"
		read -r again; echo "$again" > %[1]s/told; echo "2 once more"; touch %[1]s/asked
		until [ -e %[1]s/go ]; do sleep 0.01; done
		echo 't {"n":7}'; echo "d stop"; cat >> %[1]s/told`, dir)
}

func goOn(t *testing.T, dir string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func toldOnce(t *testing.T, dir string) {
	t.Helper()
	told := read(t, filepath.Join(dir, "told"))
	if strings.Count(told, "again: ") != 1 || !strings.Contains(told, "n: has to be of type integer, is string") {
		t.Errorf("told %q", told)
	}
}
