package spawn

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"penstock/cgroup"
)

func openKeeping(t *testing.T, left ...Leftover) *Spawner {
	t.Helper()
	s, err := Open(t.Context(), Options{Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: slog.New(slog.DiscardHandler)}, Keep: left})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// A run of the daemon's own user can write its record.
func TestOpen_BadLeftover(t *testing.T) {
	pids := orphans(t, "sleep 60")
	limit := int64(-5)
	s := openKeeping(t, Leftover{ID: "run0", Limits: &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}})
	if n := s.Swept(); n.Groups != 1 || alive(strconv.Itoa(pids[0])) {
		t.Errorf("swept %+v", n)
	}
}

func TestOpen_UnadoptableIsEnded(t *testing.T) {
	pids := orphans(t, "sleep 60")
	s := openKeeping(t, Leftover{ID: "run0"})
	var was unix.Rlimit
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, nil, &was); err != nil {
		t.Fatal(err)
	}
	if err := unix.Prlimit(0, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 0, Max: was.Max}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := s.Adopt(Command{ID: "run0"}, pids[0], time.Now())
	if limitErr := unix.Prlimit(0, unix.RLIMIT_NOFILE, &was, nil); limitErr != nil {
		t.Fatal(limitErr)
	}
	if !errors.Is(err, unix.EMFILE) || errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	s.EndUnclaimed()
	eventually(t, "its end", func() bool { return !alive(strconv.Itoa(pids[0])) })
}
