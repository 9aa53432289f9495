package spawn

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// noFileLimit finds the limit of open files the daemon was started with. The
// Go runtime raises its own and gives children the old one back, but doesn't
// tell it: so a child is asked, stopped before its first instruction. To be
// called on a locked thread, which traces it. Nil where the host lets no process be
// traced (kernel.yama.ptrace_scope of 2 or 3): children then have the raised one.
func noFileLimit() (*syscall.Rlimit, error) {
	const self = "/proc/self/exe"
	p, err := os.StartProcess(self, []string{self}, &os.ProcAttr{Env: []string{}, Sys: &syscall.SysProcAttr{Ptrace: true}})
	if errors.Is(err, unix.EPERM) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("limit of open files: %w", err)
	}
	var l unix.Rlimit
	err = unix.Prlimit(p.Pid, unix.RLIMIT_NOFILE, nil, &l)
	_, waitErr := func() (*os.ProcessState, error) {
		if err := p.Kill(); err != nil {
			return nil, err
		}
		return p.Wait()
	}()
	if err := errors.Join(err, waitErr); err != nil {
		return nil, fmt.Errorf("limit of open files: %w", err)
	}
	return &syscall.Rlimit{Cur: l.Cur, Max: l.Max}, nil
}
