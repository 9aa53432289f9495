package spawn

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDropPrivileged(t *testing.T) {
	gids := map[string]string{"docker": "998", "sudo": "27", "root": "0"}
	i := newIdentities(func(name string) (*user.Group, error) {
		if gid, ok := gids[name]; ok {
			return &user.Group{Gid: gid, Name: name}, nil
		}
		return nil, user.UnknownGroupError(name)
	})
	given := &syscall.Credential{Uid: 1000, Gid: 1000, Groups: []uint32{1000, 998, 44, 27, 0}}
	got, news := i.dropPrivileged(given)
	if diff := cmp.Diff([]uint32{1000, 44}, got.Groups); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"docker", "sudo", "root"}, news); diff != "" {
		t.Error(diff)
	}
	if len(given.Groups) != 5 {
		t.Errorf("the caller's own credential was changed: %v", given.Groups)
	}
	if _, news := i.dropPrivileged(given); news != nil {
		t.Errorf("told twice: %v", news)
	}
	primary, _ := i.dropPrivileged(&syscall.Credential{Uid: 1001, Gid: 998, Groups: []uint32{998, 27}})
	if diff := cmp.Diff([]uint32{998}, primary.Groups); diff != "" || primary.Gid != 998 {
		t.Errorf("primary group: gid %d %s", primary.Gid, diff)
	}
	if same, news := i.dropPrivileged(nil); same != nil || news != nil {
		t.Error("the daemon's own user was changed")
	}
	root := &syscall.Credential{Groups: []uint32{998}}
	if same, _ := i.dropPrivileged(root); same != root {
		t.Error("root was changed")
	}
}

// A run of another user has nothing of root's: no capability, not even to be
// regained, no group, no key, no terminal, no file.
func TestIdentity_NothingOfRoots(t *testing.T) {
	needRoot(t)
	s := open(t, false)
	s.identities.privileged[777] = "docker"
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
