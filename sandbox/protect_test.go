package sandbox

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"penstock/internal/masktest"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tries are what a run may do to change what the daemon believes later, with the
// directory above its records in $D.
const tries = `cd /
t() { "$@" >/dev/null 2>&1 && echo "DONE $*"; }
t sh -c "echo forged >> $D/store/run.json"
t sh -c ": > $D/store/run.json"
t sh -c "echo forged > $D/store/new"
t rm $D/store/run.json
t mv $D/store/run.json $D/runs/mine
t sh -c "echo {} > $D/runs/f && mv $D/runs/f $D/store/run.json"
t ln $D/store/run.json $D/runs/link
t chmod 777 $D/store
t mv $D/store $D/runs/away
t rm $D/lock
t sh -c "echo 1 > $D/lock"
t sh -c "mkdir $D/runs/own && echo x > $D/runs/own/f && mv $D/runs/own $D/runs/w2 && rm -r $D/runs/w2 && echo FINE"`

// stateDir has what a state directory has.
func stateDir(t *testing.T) (dir string, protect []string) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err == nil {
		err = errors.Join(os.Mkdir(filepath.Join(dir, "store"), 0o700), os.Mkdir(filepath.Join(dir, "runs"), 0o700),
			os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600), os.WriteFile(filepath.Join(dir, "store", "run.json"), []byte("true"), 0o600))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, []string{filepath.Join(dir, "store"), filepath.Join(dir, "lock")}
}

// held fails where a try came through. may are those whose success only the
// child sees.
func held(t *testing.T, dir, said string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(said), "\n")
	if last := lines[len(lines)-1]; !strings.HasPrefix(last, "DONE sh -c mkdir") {
		t.Errorf("ordinary work beside the store: %q", said)
	}
	for _, line := range lines[:len(lines)-1] {
		t.Errorf("a child could: %s", line)
	}
	text, err := os.ReadFile(filepath.Join(dir, "store", "run.json"))
	if err != nil || string(text) != "true" {
		t.Errorf("the record is %q, %v", text, err)
	}
	for name, want := range map[string]int{"store": 1, "lock": 0, "runs": 0} {
		if name == "lock" {
			if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() != 0 {
				t.Errorf("the lock is %v, %v", info, err)
			}
			continue
		}
		entries, err := os.ReadDir(filepath.Join(dir, name))
		for _, e := range entries {
			if want--; want < 0 && e.Name() != "f" {
				t.Errorf("%s has %s", name, e.Name())
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func TestProtect_Hidden(t *testing.T) {
	needRoot(t)
	dir, protect := stateDir(t)
	alias, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(dir, alias, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(alias, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, protect, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.protection.store != "mount namespace" || l.protection.storeOpen != nil {
		t.Fatalf("the wall is %q: %v", l.protection.store, l.protection.storeOpen)
	}
	for _, at := range []string{dir, alias} {
		said := script(t, l, "D="+at+"\n"+tries)
		// /dev/null lies over the lock, and takes what is written.
		held(t, dir, strings.Replace(said, "DONE sh -c echo 1 > "+at+"/lock\n", "", 1))
	}
}

// What the host mounts later shows children no record either.
func TestProtect_StaysHidden(t *testing.T) {
	needRoot(t)
	dir, protect := stateDir(t)
	host, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	// Elsewhere the host's mounts may be private, and not appear to children.
	later := filepath.Join(host, "later")
	if err := errors.Join(unix.Mount(host, host, "", unix.MS_BIND, ""), unix.Mount("", host, "", unix.MS_SHARED, ""), os.Mkdir(later, 0o700)); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := unix.Unmount(host, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	l, err := OpenLauncher(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), MaskPaths{}, protect, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := unix.Mount(dir, later, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		said := script(t, l, "test -e "+later+"/runs && ! test -e "+later+"/store/run.json && echo HIDDEN")
		if strings.Contains(said, "HIDDEN") {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("children see the store where it is mounted by now: %q", said)
		}
	}
}

func TestProtect_Landlock(t *testing.T) {
	if LandlockABI() < 2 {
		t.Skip("this kernel lacks Landlock ABI 2")
	}
	dir, protect := stateDir(t)
	domain, err := writeDomain(false, protect)
	if err != nil {
		t.Fatal(err)
	}
	said := inDomain(t, domain, "D="+dir+"\n"+tries)
	held(t, dir, strings.Replace(said, "DONE chmod 777 "+protect[0]+"\n", "", 1)) // no right of Landlock's, and of no use to the run
	if said := inDomain(t, mustDomain(t), "echo x > "+dir+"/store/new && echo OPEN"); said != "OPEN\n" {
		t.Errorf("without protection: %q", said)
	}
}

func mustDomain(t *testing.T) int {
	t.Helper()
	domain, err := writeDomain(false, nil)
	if err != nil {
		t.Fatal(err)
	}
	return domain
}

// inDomain runs a script as a child of a daemon that can't mount.
func inDomain(t *testing.T, domain int, text string) string {
	t.Helper()
	l := &Launcher{jobs: make(chan func()), quit: make(chan struct{}), done: make(chan struct{}), restrictions: restrictions{domain: domain, filter: putOn(nil)}}
	ready := make(chan error, 1)
	go onThread(func() {
		defer close(l.done)
		ready <- unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		for {
			select {
			case job := <-l.jobs:
				job()
			case <-l.quit:
				return
			}
		}
	})
	if err := <-ready; err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return script(t, l, text)
}

// A Landlock domain must not take from runs what they could do before.
func TestProtectable(t *testing.T) {
	if LandlockABI() < 2 {
		if err := Protectable("/var/lib/penstock"); err == nil {
			t.Error("protected without Landlock")
		}
		return // its kernel has none: the refusal was the proof
	}
	home := t.TempDir()
	below := filepath.Join(home, "a", "state")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		for _, path := range []string{home, filepath.Dir(below), below} {
			if err := os.Chown(path, 54321, -1); err != nil {
				t.Fatal(err)
			}
		}
	}
	withoutRoot(t, func() {
		for dir, want := range map[string]bool{"/state": true, "/var/lib/penstock": true, below: false, filepath.Join(os.TempDir(), "x"): false} {
			if err := Protectable(dir); (err == nil) != want {
				t.Errorf("%s: %v", dir, err)
			}
		}
		t.Setenv("HOME", "/usr")
		if err := Protectable("/usr"); err == nil {
			t.Error("runs could make nothing new in their HOME")
		}
	})
}

// withoutRoot runs f with the file rights of a user that is not root.
func withoutRoot(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread is not to be used again
		if _, err := unix.SetfsuidRetUid(54321); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// A store that a child can write to is told as no wall.
func TestProtect_TellsWhatIsOpen(t *testing.T) {
	needRoot(t)
	if LandlockABI() < 2 {
		t.Skip("this kernel lacks Landlock ABI 2")
	}
	dir, protect := stateDir(t)
	half := restrictions{domain: mustDomain(t), filter: putOn(nil)} // without protection
	defer half.close()
	g := protection{paths: protect}
	open, err := half.probe(filepath.Join(masktest.CgroupTree(t), "cgroup.procs"), g.probeFile())
	if err != nil {
		t.Fatal(err)
	}
	g.conclude("landlock", nil, open)
	if g.store != Unprotected || g.storeOpen == nil {
		t.Errorf("the wall is %q: %v", g.store, g.storeOpen)
	}
	if left, err := os.ReadDir(filepath.Join(dir, "store")); err != nil || len(left) != 1 {
		t.Errorf("the probe has left %v, %v", left, err)
	}
	if _, err := os.Stat(g.probeFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the probe has left its file")
	}
}
