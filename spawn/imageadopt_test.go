package spawn

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/cgroup"
	"penstock/internal/imagetest"
	"penstock/outcome"
	"penstock/sandbox/bundle"
)

const playImageDaemon = "play-image-daemon"

// imageDaemon is another daemon: it starts scripts in an image, which has dir as /work,
// tells their leaders' pids, and is killed.
func imageDaemon(name, root, dir string, program, scripts []string) int {
	refused := func(err error) int {
		fmt.Println("refused:", err)
		return 1
	}
	f, err := os.Open(program[0])
	if err != nil {
		return refused(err)
	}
	runtime, err := OpenRuntime(context.Background(), "", f, program[1:]...)
	if err != nil {
		return refused(err)
	}
	log := slog.New(slog.DiscardHandler)
	s, err := Open(context.Background(), Options{Cgroup: cgroup.Options{Mode: mode(), Name: name, Logger: log}, Runtime: runtime, Logger: log})
	if err != nil {
		return refused(err)
	}
	work, err := bundle.OpenSource(dir, nil)
	if err != nil {
		return refused(err)
	}
	for i, script := range scripts {
		status, err := os.OpenFile(statusIn(dir, i), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return refused(err)
		}
		p, err := s.Start(context.Background(), Command{
			ID: fmt.Sprint("run", i), Argv: []string{"sh", "-c", script}, Env: []string{"PATH=/bin"}, Dir: "/work",
			Image: &Image{Root: bundle.Options{Image: root, Home: "/root", Writable: 64 << 20, Mounts: []bundle.Mount{{From: work, To: "/work"}}}, Status: status},
		})
		if err != nil {
			return refused(err)
		}
		fmt.Println(p.PID())
	}
	time.Sleep(time.Minute)
	return 0
}

func statusIn(dir string, i int) string { return filepath.Join(dir, fmt.Sprint("status", i)) }

// A later daemon learns how a run ends from the same file, whose child it may be.
func TestImage_DaemonKilled(t *testing.T) {
	runtime, root, dir := runtimeOf(t), imagetest.Root(t), t.TempDir()
	program, err := process1()
	if err != nil {
		t.Fatal(err)
	}
	touch := func(name string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pids := orphansOf(t, 4, playImageDaemon, rootName(), root, dir, strings.Join(program, " "),
		"while [ ! -e go ]; do sleep 0.02; done; kill -9 $$",
		"while [ ! -e leave ]; do sleep 0.02; done; exit 5", // while no daemon is there
		"trap 'exit 6' TERM; touch trap; while :; do sleep 0.02; done",
		"sleep 99",
	)
	touch("leave")
	eventually(t, "what ends alone", func() bool { return !alive(strconv.Itoa(pids[1])) })
	eventually(t, "the shell's trap", func() bool { _, err := os.Stat(filepath.Join(dir, "trap")); return err == nil })
	log := slog.New(slog.DiscardHandler)
	var keep []Leftover
	for i := range pids {
		keep = append(keep, Leftover{ID: fmt.Sprint("run", i), InImage: true})
	}
	s, err := Open(t.Context(), Options{Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: log}, Keep: keep, Runtime: runtime, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	var all []*Process
	for i, pid := range pids {
		status, err := os.Open(statusIn(dir, i))
		if err != nil {
			t.Fatal(err)
		}
		defer status.Close()
		p, err := s.Adopt(Command{ID: fmt.Sprint("run", i), Image: &Image{Status: status}, SoftEnd: true, Grace: 20 * time.Second}, pid, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	touch("go")
	all[2].End(outcome.Cancelled)
	all[3].End(outcome.Timeout)
	for i, want := range []outcome.Exit{killed9, {Known: true, Code: 5}, {Known: true, Code: 6}, {Known: true, Code: -1, Signal: syscall.SIGTERM}} {
		await(t, fmt.Sprint("end of run ", i), all[i].Gone())
		if got := all[i].Outcome(); got.Exit != want || got.Err != nil {
			t.Errorf("run %d: %+v %v, want %+v", i, got.Exit, got.Err, want)
		}
	}
}
