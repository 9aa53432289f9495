package run

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
	"penstock/spool"
)

func TestHostError(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	for _, row := range []struct {
		err   error
		cause outcome.Cause // "" stays what it is
		says  string
	}{
		{&os.PathError{Op: "mkdir", Path: "/secret/place", Err: unix.ENOSPC}, outcome.StartFailed, "state directory: no space left on device (hint: make room"},
		{errors.Join(&os.PathError{Op: "open", Path: "/secret/place", Err: unix.EMFILE}, nil), outcome.StartFailed, "LimitNOFILE"},
		{&os.PathError{Op: "write", Path: "/secret/place", Err: unix.EROFS}, outcome.StartFailed, "read-only"},
		{&os.PathError{Op: "mkdir", Path: "/secret/place", Err: unix.ENOENT}, "", ""},
		{&spawn.StartError{Cause: outcome.CLIMissing, Err: unix.ENOSPC}, outcome.CLIMissing, ""},
	} {
		got := hostError(row.err, log)
		var start *spawn.StartError
		if !errors.As(got, &start) {
			if row.cause != "" {
				t.Errorf("%v: not blamed on the host", row.err)
			}
			continue
		}
		if start.Cause != row.cause || !strings.Contains(got.Error(), row.says) || strings.Contains(got.Error(), "/secret") {
			t.Errorf("%v: got %s: %v", row.err, start.Cause, got)
		}
	}
}

// A state directory that something else cleaned up is no fault of the request.
func TestHostError_StateRemoved(t *testing.T) {
	for _, gone := range []func(*store.StateDir) string{(*store.StateDir).Runs, func(s *store.StateDir) string { return s.Path }} {
		m := open(t)
		if err := os.RemoveAll(gone(m.state)); err != nil {
			t.Fatal(err)
		}
		_, err := m.Start(t.Context(), script("d stop"))
		var start *spawn.StartError
		if !errors.As(err, &start) || start.Cause != outcome.StartFailed || !strings.Contains(err.Error(), store.ErrRemoved.Error()) || strings.Contains(err.Error(), m.state.Path) {
			t.Errorf("%s: %v", gone(m.state), err)
		}
	}
}

// A record there was no room for is written later, so that the next daemon does
// not take its run for lost.
func TestRecord_SavedLater(t *testing.T) {
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d := s.Run("r")
	r := newFinishedRun(d, Record{ID: "r", State: Finished, Cause: outcome.CLIError}, slog.New(slog.DiscardHandler))
	r.save = func() error { return d.Save(r.Record()) }
	m := &Manager{live: map[string]*Run{"r": r}}
	blocked := filepath.Dir(d.StorePath("run.json")) // a file in the directory's place
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if m.retrySaves(); r.save == nil {
		t.Fatal("taken as saved where it can't be")
	}
	if err := errors.Join(os.Remove(blocked), os.Mkdir(blocked, 0o700)); err != nil {
		t.Fatal(err)
	}
	m.retrySaves()
	if got, _ := d.Recall(); r.save != nil || len(m.live) != 0 || got.Record.Cause != outcome.CLIError {
		t.Errorf("the record on disk: %+v", got)
	}
}

// What a full disk may have cut is known by when it was full, and by how the CLI
// tells that it is done.
func TestSupervisor_Incomplete(t *testing.T) {
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, store.SpoolName))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	full := "full"
	for _, row := range []struct {
		name               string
		plain, full, after bool
		lost               bool
		want               string
	}{
		{name: "room all the time"},
		{name: "room all the time, a plain program", plain: true},
		{name: "full, and an exit status tells nothing of it", plain: true, full: true, want: full},
		{name: "full to the end, and the last word was still taken", full: true},
		{name: "full for a while before the last word", full: true, after: true, want: full},
		{name: "not written back", lost: true, want: "EIO"},
	} {
		w := &supervisor{run: newRun(starting, Record{}, slog.New(slog.DiscardHandler)), files: files{outputs: &spool.Outputs{Spool: file, Stderr: file}}}
		w.facts.terminalAfterFull = row.after
		w.spec.Backend = agent{}
		if row.plain {
			w.spec.Backend = agent{framing: backend.Words}
		}
		if row.full {
			w.run.noteDiskFull(full)
		}
		if row.lost {
			w.facts.outputLost.Store(&row.want)
		}
		if got := w.incomplete(); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// A disk that takes what is written says nothing.
func TestRefusesWrites(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "r")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	d := &store.Dir{Path: dir, User: &User{UID: 54321}}
	if why := refusesWrites(d); why != "" {
		t.Errorf("got: %s", why)
	}
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if why := refusesWrites(&store.Dir{Path: filepath.Join(dir, "gone")}); why != "" {
		t.Errorf("of a directory that is gone: %s", why)
	}
}

// Where the figures are true and no quota binds the daemon, nothing is written to find
// out; a file system whose figures are guesses is tried.
func TestFileSystem(t *testing.T) {
	ample := unix.Statfs_t{Bsize: 4096, Bavail: 1 << 20, Bfree: 1 << 20, Files: 100, Ffree: 50}
	for _, row := range []struct {
		name  string
		kind  int64
		alter func(*unix.Statfs_t)
		exact bool
		want  string
	}{
		{name: "ext4", kind: unix.EXT4_SUPER_MAGIC, exact: true},
		{name: "tmpfs", kind: unix.TMPFS_MAGIC, exact: true},
		{name: "nfs", kind: unix.NFS_SUPER_MAGIC},
		{name: "btrfs", kind: unix.BTRFS_SUPER_MAGIC},
		{name: "full", kind: unix.EXT4_SUPER_MAGIC, alter: func(s *unix.Statfs_t) { s.Bavail, s.Bfree = 0, 0 }, exact: true, want: "no space left"},
		{name: "no more files", kind: unix.EXT4_SUPER_MAGIC, alter: func(s *unix.Statfs_t) { s.Ffree = 0 }, exact: true, want: "no file can be made"},
		{name: "it doesn't count files", kind: unix.BTRFS_SUPER_MAGIC, alter: func(s *unix.Statfs_t) { s.Files, s.Ffree = 0, 0 }},
		{name: "read-only", kind: unix.EXT4_SUPER_MAGIC, alter: func(s *unix.Statfs_t) { s.Flags = unix.ST_RDONLY }, exact: true, want: "read-only"},
	} {
		d := fileSystem{figures: ample, known: true}
		d.figures.Type = row.kind
		if row.alter != nil {
			row.alter(&d.figures)
		}
		if got := d.state(true); !strings.Contains(got, row.want) || (got == "") != (row.want == "") || d.isExact() != row.exact {
			t.Errorf("%s: %q, exact %v", row.name, got, d.isExact())
		}
	}
	if d := fileSystemOf("/nowhere"); d.isExact() || d.state(true) != "" {
		t.Error("one that can't be asked")
	}
}

// A file system without a block takes no run; one that tells no figures is believed.
func TestFileSystem_Full(t *testing.T) {
	for _, c := range []struct {
		blocks, free, avail uint64
		root, want          bool
	}{
		{100, 0, 0, true, true}, {100, 5, 0, false, true}, {100, 5, 0, true, false}, {100, 5, 5, false, false}, {0, 0, 0, true, false},
	} {
		d := fileSystem{unix.Statfs_t{Blocks: c.blocks, Bfree: c.free, Bavail: c.avail}, true}
		if got := d.full(c.root); (got != nil) != c.want || got != nil && !errors.Is(got, unix.ENOSPC) {
			t.Errorf("%+v: %v", c, got)
		}
	}
	unknown := fileSystem{}
	if err := unknown.full(true); err != nil {
		t.Error(err)
	}
}
