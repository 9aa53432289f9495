package spawn

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"penstock/sandbox"
)

// A run of another user has nothing of root's: no capability, not even to be
// regained, no group, no key, no terminal, no file.
func TestIdentity_NothingOfRoots(t *testing.T) {
	needRoot(t)
	s := open(t, false)
	s.groups = sandbox.NewGroupFilter(func(name string) (*user.Group, error) {
		if name == "docker" {
			return &user.Group{Gid: "777", Name: name}, nil
		}
		return nil, user.UnknownGroupError(name)
	})
	j := newJob(t, "run_as", `grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status; echo "umask $(umask)"
cut -d' ' -f6,7 /proc/$$/stat; echo "pid $$"; (exec </dev/tty) 2>/dev/null && echo TTY; env`)
	if err := os.Chmod(j.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	j.Dir = "/"
	j.User = &syscall.Credential{Uid: nobody, Gid: nobody + 1, Groups: []uint32{777, nobody + 2}}
	out, o := j.run(s)
	want := map[string]string{
		"Uid": "12345\t12345\t12345\t12345", "Gid": "12346\t12346\t12346\t12346", "Groups": "12347",
		"CapInh": none, "CapPrm": none, "CapEff": none, "CapBnd": none, "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2",
	}
	for name, value := range want {
		if !strings.Contains(out, fmt.Sprintf("%s:\t%s", name, value)) {
			t.Errorf("%s is not %q", name, value)
		}
	}
	if strings.Contains(out, "TTY") || strings.Contains(out, "HOME=") || o.Exit != exited0 {
		t.Errorf("exit %+v:\n%s", o.Exit, out)
	}
	if pid := pidLines(out); len(pid) != 1 || !strings.Contains(out, pid[0]+" 0\n") {
		t.Errorf("not the leader of a session without a terminal:\n%s", out)
	}
}

const none = "0000000000000000"

// The daemon's session keyring holds what its starter had (a Kerberos ticket, a
// file system's key); another one is the run's.
func TestIdentity_SessionKeyring(t *testing.T) {
	text, err := os.ReadFile("/proc/keys")
	if err != nil {
		if lab() {
			return // its kernel has no keys
		}
		t.Skipf("this kernel has no keys: %v", err)
	}
	_ = text
	s := open(t, false)
	out, _ := newHostile(t, "run_keys", "keyring").run(s)
	mine, err := sessionKeyring()
	if err != nil {
		t.Skipf("no session keyring here: %v", err)
	}
	if want := fmt.Sprintf("keyring %d\n", mine); !strings.HasPrefix(out, "keyring ") || strings.HasPrefix(out, want) {
		t.Errorf("the daemon's session keyring is %d, the run has: %s", mine, out)
	}
}

// The limit of open files is what the daemon was started with, not what the Go
// runtime has made of it.
func TestNoFileLimit_OfTheStarter(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("PENSTOCK_LIMITED") == "" {
		// Once more, with a limit known.
		out := filepath.Join(t.TempDir(), "out")
		p, err := os.StartProcess("/bin/sh", []string{"sh", "-c", "ulimit -S -n 321 && exec " + self + " -test.v -test.run '^TestNoFileLimit_OfTheStarter$' >" + out + " 2>&1"},
			&os.ProcAttr{Env: append(os.Environ(), "PENSTOCK_LIMITED=1")})
		if err != nil {
			t.Fatal(err)
		}
		state, err := p.Wait()
		text, _ := os.ReadFile(out)
		if err != nil || !state.Success() || !strings.Contains(string(text), "--- PASS") {
			t.Errorf("%v, %v:\n%s", state, err, text)
		}
		return
	}
	s := open(t, false)
	if out, _ := newJob(t, "run_limit", "ulimit -S -n").run(s); out != "321\n" {
		t.Errorf("limit of open files: %s", out)
	}
}

// A run of the daemon's own user may write the file.
func TestOOMScore_RunCannotRaiseTheDaemons(t *testing.T) {
	s := open(t, false)
	const own = "/proc/self/oom_score_adj"
	was, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	newJob(t, "run_score", "echo 987 >/proc/$PPID/oom_score_adj").run(s)
	eventually(t, "score put back", func() bool {
		now, err := os.ReadFile(own)
		return err == nil && string(now) == string(was)
	})
}
