package spawn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/cgroup"
	"penstock/outcome"
)

// playDaemon is another daemon: it starts scripts, tells their leaders' pids,
// and is killed.
func playDaemon(name string, scripts []string) int {
	s, err := Open(context.Background(), Options{Cgroup: cgroup.Options{Mode: mode(), Name: name, Logger: slog.New(slog.DiscardHandler)}})
	if err != nil {
		fmt.Println("refused:", err)
		return 1
	}
	for i, script := range scripts {
		p, err := s.Start(context.Background(), Command{ID: fmt.Sprint("run", i), Argv: []string{"/bin/sh", "-c", script}, Dir: "/"})
		if err != nil {
			fmt.Println("refused:", err)
			return 1
		}
		fmt.Println(p.PID())
	}
	time.Sleep(time.Minute)
	return 0
}

// orphans starts scripts in a daemon, kills it, and returns the leaders.
func orphans(t *testing.T, scripts ...string) (pids []int) {
	t.Helper()
	return orphansOf(t, len(scripts), append([]string{"play-daemon", rootName()}, scripts...)...)
}

// orphansOf starts a daemon that tells so many leaders, and kills it.
func orphansOf(t *testing.T, n int, args ...string) (pids []int) {
	t.Helper()
	daemon := exec.Command("/proc/self/exe", args...)
	out, err := daemon.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := daemon.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for range n {
		if !lines.Scan() {
			t.Fatal("the other daemon is silent")
		}
		if strings.HasPrefix(lines.Text(), "refused:") {
			t.Fatal(lines.Text())
		}
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait()
	return pids
}

func TestAdopt_DaemonKilled(t *testing.T) {
	dir := t.TempDir()
	pids := orphans(t,
		"while [ ! -e "+dir+"/go ]; do sleep 0.02; done; sleep 60 & exit 3",
		"sleep 60",
		"while [ ! -e "+dir+"/leave ]; do sleep 0.02; done; sleep 60 & exit 0", // its leader goes while no daemon is there
		"sleep 60",        // nobody claims it
		"sleep 60",        // nobody keeps it
		"sleep 60 & wait", // its daemon was killed before it could note the leader
		"while [ ! -e "+dir+"/leave ]; do sleep 0.02; done; sleep 60 & exit 0",        // the same, and its leader went
		"setsid sleep 60 & while [ ! -e "+dir+"/leave ]; do sleep 0.02; done; exit 0", // and left the leader of another session
		"while [ ! -e "+dir+"/leave ]; do sleep 0.02; done",                           // its daemon was killed while it ended it
	)
	if err := os.WriteFile(dir+"/leave", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "four leaders' exit", func() bool {
		return !alive(strconv.Itoa(pids[2])) && !alive(strconv.Itoa(pids[6])) && !alive(strconv.Itoa(pids[7])) && !alive(strconv.Itoa(pids[8]))
	})
	var left []Leftover
	for _, i := range []int{0, 1, 2, 3, 5, 6, 7, 8} {
		left = append(left, Leftover{ID: fmt.Sprint("run", i)})
	}
	s, err := Open(t.Context(), Options{
		Cgroup: cgroup.Options{Mode: mode(), Name: rootName(), Logger: slog.New(slog.DiscardHandler)},
		Keep:   append(left, Leftover{ID: "never"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if n := s.Swept(); n.Groups != 1 || alive(strconv.Itoa(pids[4])) {
		t.Errorf("swept %+v: all but what is kept", n)
	}
	began := time.Now().Add(-time.Hour)
	adopt := func(i int) *Process {
		t.Helper()
		p, err := s.Adopt(Command{ID: fmt.Sprint("run", i)}, pids[i], began)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	if _, err := s.Adopt(Command{ID: "never"}, 0, began); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a run without a group: %v", err)
	}

	if err := s.kept["run8"].NoteEnd(string(outcome.Timeout)); err != nil {
		t.Fatal(err)
	}
	overdue := adopt(8)
	awaitProcess(t, overdue)
	if o := overdue.Outcome(); o.Reason != outcome.Timeout && s.trustsNotes {
		t.Errorf("ended by a daemon that was killed over it: %+v", o)
	}
	// Where runs can write it, a note in a group is not believed.
	if err := s.kept["run1"].NoteEnd(string(outcome.Completed)); err != nil {
		t.Fatal(err)
	}
	noted := s.trustsNotes
	s.trustsNotes = false
	own, asked, leaderless := adopt(0), adopt(1), adopt(2)
	known := pids[5]
	pids[5], pids[6], pids[7] = 0, 0, 0
	unnoted, gone := adopt(5), adopt(6)
	s.trustsNotes = noted
	succeeded := adopt(7)
	if !noted {
		succeeded.End(outcome.Cancelled) // its leader can't be told apart
	}
	awaitProcess(t, gone)
	awaitProcess(t, succeeded)
	if unnoted.PID() != known || !alive(strconv.Itoa(known)) {
		t.Errorf("a run whose leader was not noted: %d is said to be it instead of %d", unnoted.PID(), known)
	}
	unnoted.End(outcome.Cancelled)
	awaitProcess(t, unnoted)
	s.EndUnclaimed()
	eventually(t, "the unclaimed one's end", func() bool { return !alive(strconv.Itoa(pids[3])) })
	awaitProcess(t, leaderless)
	if o := leaderless.Outcome(); o.Exit.Known || o.Survived != 1 {
		t.Errorf("without a leader: %+v", o)
	}
	if own.PID() != pids[0] || !alive(strconv.Itoa(pids[0])) {
		t.Fatal("adopting ended the tree")
	}
	if err := os.WriteFile(dir+"/go", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	awaitProcess(t, own)
	switch o := own.Outcome(); {
	case o.Survived != 1 || !o.Started.Equal(began) || o.Reason != "":
		t.Errorf("ended by itself: %+v", o)
	case o.Exit.Known && o.Exit.Code != 3:
		t.Errorf("exit %+v, want status 3 or none", o.Exit)
	case !o.Exit.Known:
		t.Log("init reaped it before its exit status could be read; Linux 6.15 would still tell")
	}
	asked.End(outcome.Cancelled)
	awaitProcess(t, asked)
	switch o := asked.Outcome(); {
	case o.Reason != outcome.Cancelled || alive(strconv.Itoa(pids[1])):
		t.Errorf("ended when asked: %+v", o)
	case o.Exit.Known && o.Exit.Signal != syscall.SIGKILL:
		t.Errorf("exit %+v, want SIGKILL or none", o.Exit)
	}
}
