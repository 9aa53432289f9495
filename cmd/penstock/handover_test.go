package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A run of the daemon's user can put anything in the state directory. Who asks
// is root, at a terminal.
func TestHandover_HostileStateDirectory(t *testing.T) {
	handover := func(t *testing.T, prepare func(dir string) error) (printed string) {
		t.Helper()
		dir := t.TempDir()
		if err := prepare(dir); err != nil {
			t.Fatal(err)
		}
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"handover", "--state-dir", dir}, strings.NewReader(""), &out, &errs); code != exitFailed {
			t.Errorf("exit status %d: %s", code, errs.String())
		}
		return errs.String()
	}
	pipe := func(dir string) error { // one that is held open waits for ever
		path := filepath.Join(dir, "lock")
		if err := unix.Mkfifo(path, 0o600); err != nil {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		t.Cleanup(func() { f.Close() })
		return err
	}
	if printed := handover(t, pipe); !strings.Contains(printed, "not a regular file") {
		t.Error(printed)
	}
	link := func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, "lock")) }
	if printed := handover(t, link); !strings.Contains(printed, "symbolic links") {
		t.Error(printed)
	}
}

// A daemon's errors have the words of CLIs in them.
func TestErrors_Sanitized(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = io.WriteString(w, `{"error":{"code":"x","message":"a\u001b]0;owned\u0007\u009bz"}}`)
	}))
	defer s.Close()
	for _, args := range [][]string{{"logs", "r-1"}, {"cancel", "r-1"}, {"ps"}, {"run", "demo", "x"}} {
		var out, errs bytes.Buffer
		code := run(t.Context(), append(args, "--url", s.URL), strings.NewReader(""), &out, &errs)
		if printed := errs.String() + out.String(); code == exitOK || strings.ContainsAny(printed, "\x1b\x07\u009b") || !strings.Contains(printed, "owned") {
			t.Errorf("%s: %d, %q", args[0], code, printed)
		}
	}
}

// A successor that is stopped while it reads its configuration takes over first what
// was handed over to it; a second stop ends it even where the file can't be read.
func TestSuccessor_EarlyStop(t *testing.T) {
	path := filepath.Join(t.TempDir(), "penstock.toml")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	keep, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer keep.Close()
	load := func(a *app) <-chan error {
		done := make(chan error, 1)
		go func() {
			_, err := a.loadUnlessStopped(&settings{file: path, flags: map[string]string{}})
			done <- err
		}()
		return done
	}
	a := &app{caught: &signalChans{stop: make(chan os.Signal, 2)}}
	done := load(a)
	a.caught.stop <- unix.SIGTERM
	for len(a.caught.stop) > 0 {
		time.Sleep(time.Millisecond)
	}
	a.caught.stop <- unix.SIGINT
	if err := <-done; err == nil || !strings.Contains(err.Error(), "before the configuration was read") {
		t.Errorf("two stops: %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	// What is read in time is gone on with, and the stop is heard after that.
	if err := os.WriteFile(path, []byte("[limits]\npids_max = 77\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.caught.stop <- unix.SIGTERM
	if err := <-load(a); err != nil || len(a.caught.stop) != 1 {
		t.Errorf("one stop: %v, %d stops kept", err, len(a.caught.stop))
	}
}
