package run

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/sandbox"
)

func TestMergeEnv(t *testing.T) {
	got := backend.MergeEnv([]string{"A=1", "B=2"}, []string{"B=3", "C="}, nil, []string{"A=4"})
	if diff := cmp.Diff([]string{"A=4", "B=3", "C="}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWorkDir_RememberedCwdIsChecked(t *testing.T) {
	m := open(t)
	cwd := t.TempDir()
	verdict(t, start(t, m, script("echo 's x'; echo 'd stop'", inSession("s", func(s *Spec) { s.Cwd = cwd }))), outcome.Completed)
	refused := errors.New("outside of workspace_roots")
	var asked string
	_, err := m.Start(t.Context(), script("echo 'd stop'", inSession("s", func(s *Spec) {
		s.OpenCwd = func(cwd string) (*os.File, error) { asked = cwd; return nil, refused }
	})))
	if !errors.Is(err, refused) || asked != cwd {
		t.Errorf("asked %q, got %v", asked, err)
	}
	verdict(t, start(t, m, script("echo 's x'; echo 'd stop'", inSession("own"))), outcome.Completed)
	verdict(t, start(t, m, script("echo 'd stop'", inSession("own", func(s *Spec) {
		s.OpenCwd = func(string) (*os.File, error) { return nil, refused }
	}))), outcome.Completed)
}

// A run of the daemon's own user can put a link in the place of its session's
// directory; the next turn doesn't follow it.
func TestWorkDir_IsNoLink(t *testing.T) {
	m := open(t)
	out := t.TempDir()
	swap := script(`echo "s x"; cd ..; mv work was; ln -s "$OUT" work; echo "d stop"`, inSession("s", func(s *Spec) {
		s.Env = append(s.Env, "OUT="+out)
	}))
	verdict(t, start(t, m, swap), outcome.Completed)
	if _, err := m.Start(t.Context(), script("touch here; echo 'd stop'", inSession("s"))); !errors.Is(err, sandbox.ErrMoved) {
		t.Errorf("started: %v", err)
	}
	if left := names(t, out); len(left) != 0 {
		t.Errorf("it worked where the link leads: %q", left)
	}
}

func TestWorkDir_HomeIsADirectory(t *testing.T) {
	m, dir := open(t), t.TempDir()
	home := func(s *Spec) { s.Home = dir }
	for _, change := range [][]func(*Spec){{home}, {inSession("d", home)}} {
		r := start(t, m, script(`echo "s cli-1"; echo "t $HOME"; echo "d stop"`, change...))
		verdict(t, r, outcome.Completed)
		if got := text(events(t, r.Follow(0))); got != dir {
			t.Errorf("HOME is %q, want %q", got, dir)
		}
	}
}

func TestWorkDir_PrivateHomeIsSeededOnce(t *testing.T) {
	m := open(t)
	seed := t.TempDir()
	if err := os.MkdirAll(filepath.Join(seed, ".agent"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(seed, ".agent", "key"), []byte("k"), 0o600); err != nil {
		t.Fatal(err)
	}
	home := func(s *Spec) { s.Home, s.HomeSeed = private, seed }
	const show = `echo "s cli-1"; stat -c "t %a" $HOME/.agent/key; echo "t $HOME"; echo x >> $HOME/count; wc -l < $HOME/count | sed "s/^/t /"; echo "d stop"`
	own := filepath.Join(m.state.Sessions(), sessions.Key("tester", "h"), "home")
	for turn := range 2 {
		r := start(t, m, script(show, inSession("h", home)))
		verdict(t, r, outcome.Completed)
		if got, want := text(events(t, r.Follow(0))), "600"+own+[]string{"1", "2"}[turn]; got != want {
			t.Errorf("turn %d: got %q, want %q", turn, got, want)
		}
	}
	// A later turn keeps the session's HOME whatever the backend's home is now.
	r := start(t, m, script(`echo "t $HOME"; echo "d stop"`, inSession("h")))
	verdict(t, r, outcome.Completed)
	if got := text(events(t, r.Follow(0))); got != own {
		t.Errorf("HOME is %q", got)
	}
	single := start(t, m, script(show, home))
	verdict(t, single, outcome.Completed)
	if got, want := text(events(t, single.Follow(0))), "600"+m.dirOf(single.ID())+"/home1"; got != want {
		t.Errorf("without a session: got %q, want %q", got, want)
	}
	if _, err := os.Stat(m.dirOf(single.ID()) + "/home"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the run's own HOME is left: %v", err)
	}
}
