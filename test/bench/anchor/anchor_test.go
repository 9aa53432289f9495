package anchor

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// newGroup skips where this process may make none.
func newGroup(t *testing.T) string {
	t.Helper()
	group, err := Group("test")
	if err == nil {
		err = os.Mkdir(group, 0o755)
	}
	if err != nil {
		t.Skipf("no group can be made here: %v", err)
	}
	t.Cleanup(func() { _ = os.Remove(group) })
	return group
}

// The handler gives back what the program says, and leaves no group.
func TestNaive(t *testing.T) {
	h := &handler{argv: []string{"/bin/cat"}, groups: newGroup(t)}
	for _, word := range []string{"one", "two"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/run", strings.NewReader(word)))
		if w.Code != http.StatusOK || w.Body.String() != word {
			t.Errorf("%d %q, want %q", w.Code, w.Body, word)
		}
	}
	if left, err := filepath.Glob(filepath.Join(h.groups, "*", "cgroup.procs")); err != nil || len(left) > 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// All of the tree is ended, and its group removed.
func TestKillTree(t *testing.T) {
	newGroup(t)
	took, err := KillTree(3)
	if err != nil || took <= 0 {
		t.Fatalf("%v, %v", took, err)
	}
	group, err := Group("kill")
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Rmdir(group); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its group is still there: %v", err)
	}
}

// A row that is interrupted leaves no process.
func TestSweep(t *testing.T) {
	group := newGroup(t)
	run := filepath.Join(group, "1")
	if err := os.Mkdir(run, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sleep", "600")
	leave, err := bornIn(cmd, run)
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait()
	if err := Sweep(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(group); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the group is still there: %v", err)
	}
}

func TestTick(t *testing.T) {
	var out strings.Builder
	if err := tick(strings.NewReader("3 1ms\n"), &out); err != nil || strings.Count(out.String(), "\n") != 3 {
		t.Errorf("%q, %v", &out, err)
	}
	if err := tick(strings.NewReader("3 often\n"), &out); err == nil {
		t.Error("a pace that is none")
	}
}
