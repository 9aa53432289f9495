package spawn

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// probe lets a child put on the sandbox and try, instead of executing, to open
// procs for writing, to call clone3 and, where store names a file, to make that:
// open says that it could. Opening writes nothing.
func (s *sandbox) probe(procs, store string) (open, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	b, err := s.newChildSpec("/", nil, &os.ProcAttr{})
	if err != nil {
		return nil, err
	}
	if b.probe, err = syscall.BytePtrFromString(procs); err != nil {
		return nil, err
	}
	if store != "" {
		if b.probeStore, err = syscall.BytePtrFromString(store); err != nil {
			return nil, err
		}
	}
	_, f, err := b.forkAndWait([]*os.File{null, null, null})
	switch {
	case err != nil:
		return nil, fmt.Errorf("probe the sandbox: %w", err)
	case f.stage != stageProbe:
		return nil, fmt.Errorf("probe the sandbox: %w", f.err(false))
	case f.errno == 0:
		return nil, fmt.Errorf("open %s: still writable for a child", procs)
	case f.errno != unix.EROFS && f.errno != unix.EACCES:
		return nil, &os.PathError{Op: "probe: open", Path: procs, Err: f.errno}
	case f.second != unix.ENOSYS:
		return nil, fmt.Errorf("clone3: a child could be born into another group (answer %d instead of ENOSYS: is seccomp in this kernel?)", f.second)
	}
	if store != "" && f.third == 0 {
		open = errors.Join(fmt.Errorf("%s: a child could make it", store), os.Remove(store))
	}
	return open, nil
}
