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
