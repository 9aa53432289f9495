package spawn

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// probe lets a child put on the seal and try, instead of executing, to open
// procs for writing and to call clone3. Opening writes nothing.
func (s *seal) probe(procs string) error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	b, err := s.newborn("/", nil, &os.ProcAttr{})
	if err != nil {
		return err
	}
	if b.probe, err = syscall.BytePtrFromString(procs); err != nil {
		return err
	}
	_, f, err := b.deliver([]*os.File{null, null, null})
	switch {
	case err != nil:
		return fmt.Errorf("probe the seal: %w", err)
	case f.stage != stageProbe:
		return fmt.Errorf("probe the seal: %w", f.err(false))
	case f.errno == 0:
		return fmt.Errorf("open %s: still writable for a child", procs)
	case f.errno != unix.EROFS && f.errno != unix.EACCES:
		return &os.PathError{Op: "probe: open", Path: procs, Err: f.errno}
	case f.second != unix.ENOSYS:
		return fmt.Errorf("clone3: a child could be born into another group (answer %d instead of ENOSYS: is seccomp in this kernel?)", f.second)
	}
	return nil
}
