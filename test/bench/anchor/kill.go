package anchor

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Tree reads from stdin how many processes it is to be, each a session of its own
// that a signal to a process group doesn't reach.
var Tree = []string{"/bin/sh", "-c", `read n; i=1; while [ $i -lt $n ]; do setsid sleep 600 & i=$((i+1)); done; exec sleep 600`}

// KillTree makes a tree of processes in a new group, and times its end: from the
// order to kill until the group is removed.
func KillTree(processes int) (time.Duration, error) {
	group, err := Group("kill")
	if err == nil {
		err = os.Mkdir(group, 0o755)
	}
	if err != nil {
		return 0, err
	}
	cmd := exec.Command(Tree[0], Tree[1:]...)
	cmd.Stdin = strings.NewReader(strconv.Itoa(processes) + "\n")
	leave, err := bornIn(cmd, group)
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	if err := Grown(group, processes); err != nil {
		return 0, err
	}
	begun := time.Now()
	if err := kill(group); err != nil {
		return 0, err
	}
	_ = cmd.Wait() // it was killed
	for isPopulated(group) {
		Pause(50 * time.Microsecond)
	}
	err = remove(group)
	return time.Since(begun), err
}

// Pause is a sleep as short as it says: those of the runtime take a millisecond at least
// where nothing else is to be done.
func Pause(d time.Duration) {
	short := syscall.NsecToTimespec(int64(d))
	_ = syscall.Nanosleep(&short, nil) // a signal may end it
}

func isPopulated(group string) bool {
	text, err := os.ReadFile(filepath.Join(group, "cgroup.events"))
	return err == nil && !strings.Contains(string(text), "populated 0")
}

// Grown returns when a tree has all its processes, and has been at rest for a while.
func Grown(group string, processes int) error {
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		pids, err := os.ReadFile(filepath.Join(group, "cgroup.procs"))
		if err == nil && bytes.Count(pids, []byte("\n")) == processes {
			time.Sleep(300 * time.Millisecond)
			return nil
		}
	}
	return fmt.Errorf("%s: not %d processes after a minute", group, processes)
}
