package run

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/spawn"
)

func TestBlameHost(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, row := range []struct {
		err   error
		cause spawn.Cause // "" stays what it is
		says  string
	}{
		{&os.PathError{Op: "mkdir", Path: "/secret/place", Err: unix.ENOSPC}, spawn.StartFailed, "state directory: no space left on device (hint: make room"},
		{errors.Join(&os.PathError{Op: "open", Path: "/secret/place", Err: unix.EMFILE}, nil), spawn.StartFailed, "LimitNOFILE"},
		{&os.PathError{Op: "write", Path: "/secret/place", Err: unix.EROFS}, spawn.StartFailed, "read-only"},
		{&os.PathError{Op: "mkdir", Path: "/secret/place", Err: unix.ENOENT}, "", ""},
		{&spawn.StartError{Cause: spawn.CLIMissing, Err: unix.ENOSPC}, spawn.CLIMissing, ""},
	} {
		got := blameHost(row.err, log)
		var start *spawn.StartError
		if !errors.As(got, &start) {
			if row.cause != "" {
				t.Errorf("%v: not blamed on the host", row.err)
			}
			continue
		}
		if start.Cause != row.cause || !strings.Contains(got.Error(), row.says) || strings.Contains(got.Error(), "/secret") {
			t.Errorf("%v: told %s: %v", row.err, start.Cause, got)
		}
	}
}

// A record there was no room for is written later, so that the next daemon does
// not take its run for lost.
func TestRecordIsSavedLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	d := &directory{path: dir, kept: []string{dir}}
	r := pastRun(d, Record{ID: "r", State: Finished, Cause: spawn.CLIError}, slog.New(slog.DiscardHandler))
	r.unsaved.Store(true)
	m := &Manager{runs: map[string]*Run{"r": r}}
	blocked := dir // a file in the directory's place
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if m.saveAgain(); !r.unsaved.Load() {
		t.Fatal("told as saved where it can't be")
	}
	if err := errors.Join(os.Remove(blocked), os.Mkdir(blocked, 0o700)); err != nil {
		t.Fatal(err)
	}
	m.saveAgain()
	if got, _ := d.load(); r.unsaved.Load() || got.Cause != spawn.CLIError {
		t.Errorf("the record on disk: %+v", got)
	}
}
