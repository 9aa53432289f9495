package systemd

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for want, send := range map[string]func() error{
		"READY=1\nSTATUS=serving on x":   func() error { return Ready("serving on x") },
		"STOPPING=1\nSTATUS=3 runs left": func() error { return Stopping("3 runs left") },
		"STATUS=a MAINPID=1":             func() error { return Status("a\nMAINPID=1") },
		"READY=1":                        Reloaded,
	} {
		if err := send(); err != nil {
			t.Fatal(err)
		}
		if err := manager.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 256)
		n, err := manager.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("sent %q, %v; want %q", buf[:n], err, want)
		}
	}
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready("x"); err != nil {
		t.Errorf("without systemd: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", path+"-gone")
	if err := Ready("x"); err == nil {
		t.Error("a socket that is gone is no error")
	}
}

// TestInherit runs itself as the activated process: the environment holds
// the pid it must have.
func TestInherit(t *testing.T) {
	if os.Getenv("PENSTOCK_TEST_ACTIVATED") != "" {
		t.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
		g, err := Inherit()
		all := g.Listeners
		if err != nil || len(all) != 1 || g.Lock != nil || g.Own() {
			t.Fatalf("%+v, %v", g, err)
		}
		if _, set := os.LookupEnv("LISTEN_FDS"); set {
			t.Error("LISTEN_FDS would be inherited")
		}
		os.Stdout.WriteString("address=" + all[0].Addr().String() + "\n")
		return
	}
	if g, err := Inherit(); err != nil || len(g.Listeners) != 0 {
		t.Errorf("without systemd: %v, %v", g, err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestInherit$", "-test.v")
	cmd.Env = append(os.Environ(), "PENSTOCK_TEST_ACTIVATED=1", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{file}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "address="+l.Addr().String()) {
		t.Errorf("%v: %s", err, out)
	}
	cmd = exec.Command(os.Args[0], "-test.run=^TestInherit$", "-test.v")
	pipe, other, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer other.Close()
	cmd.Env = append(os.Environ(), "PENSTOCK_TEST_ACTIVATED=1", "LISTEN_FDS=1")
	cmd.ExtraFiles = []*os.File{pipe}
	out, err = cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "number 1 is no stream socket") {
		t.Errorf("a pipe as a socket: %v: %s", err, out)
	}
}

func TestInherited_HandedOver(t *testing.T) {
	env := Environ([]string{"A=b", "LISTEN_FDS=7", "LISTEN_PIDFDID=1"}, []string{OwnSocket, StateLock}, "a word")
	want := []string{"A=b", "LISTEN_PID=" + strconv.Itoa(os.Getpid()), "LISTEN_FDS=2", "LISTEN_FDNAMES=" + OwnSocket + ":" + StateLock, "LISTEN_PENSTOCK_WORD=a word"}
	if !slices.Equal(env, want) {
		t.Errorf("%q, want %q", env, want)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.CreateTemp(t.TempDir(), "lock")
	if err != nil {
		t.Fatal(err)
	}
	g, err := InheritFiles([]*os.File{socket, lock}, []string{OwnSocket, StateLock})
	if err != nil || !g.Own() || g.Lock != lock || len(g.Listeners) != 1 || g.Listeners[0].Addr().String() != l.Addr().String() {
		t.Fatalf("%+v, %v", g, err)
	}
	if err := errors.Join(g.Listeners[0].Close(), lock.Close()); err != nil {
		t.Error(err)
	}
}

// A service manager that takes nothing is not waited for.
func TestNotify_HangingManager(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	for err == nil {
		err = Status("once more")
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}
