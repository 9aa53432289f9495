package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// childOOMScore makes a run the kernel's first choice when the whole host is
// short: the daemon's own unit has a negative score, which children inherit.
const childOOMScore = 500

// raiseOOMScore sets /proc/PID/oom_score_adj (proc(5)) to at least
// childOOMScore. A process that has ended already is no error.
func raiseOOMScore(pid int) error {
	path := fmt.Sprintf("/proc/%d/oom_score_adj", pid)
	err := raiseScoreFile(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

func raiseScoreFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	now, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		return fmt.Errorf("parse %s: %w", path, err)
	}
	if now >= childOOMScore {
		return nil
	}
	return os.WriteFile(path, []byte(strconv.Itoa(childOOMScore)), 0)
}
