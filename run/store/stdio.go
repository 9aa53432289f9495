package store

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/internal/openat"
)

// Stdio is what a child is started with. The files are the daemon's only until
// the child has its own descriptors.
type Stdio struct {
	Stdin, Stdout, Stderr *os.File
}

// OpenStdio makes stdin as the command wants it, and the two outputs.
func (d *Dir) OpenStdio(c backend.Command) (s Stdio, err error) {
	defer func() {
		if err != nil {
			s.Close()
			err = fmt.Errorf("run directory: %w", err)
		}
	}()
	if s.Stdin, err = d.stdin(c); err != nil {
		return s, err
	}
	if s.Stdout, err = d.output(SpoolName); err != nil {
		return s, err
	}
	s.Stderr, err = d.output(StderrName)
	return s, err
}

func (d *Dir) stdin(c backend.Command) (*os.File, error) {
	if c.Input == backend.Conversation {
		return d.fifo()
	}
	if len(c.Prompt) <= smallPrompt {
		if f, err := memoryFile(promptName, c.Prompt); err == nil {
			return f, nil
		}
	}
	p := d.File(promptName)
	f, err := openat.Plain(p, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(c.Prompt)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	if err := d.User.Own(p); err != nil {
		return nil, err
	}
	return openat.Plain(p, os.O_RDONLY, 0)
}

// smallPrompt is what is kept in memory until its CLI has ended, in bytes: making and
// deleting a file would cost more than the four pages do.
const smallPrompt = 16 << 10

// memoryFile is a file without a name that can't be changed (memfd_create(2)). A process
// that has it may open it anew, whatever its user. A host may refuse it (vm.memfd_noexec).
func memoryFile(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	if _, err = unix.Pwrite(fd, content, 0); err == nil { // the offset stays at the beginning
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), name), nil
}

// fifo is opened for reading and writing, so that the child itself keeps its
// input open and a daemon's death is no end of input. It must be a blocking
// description: os.OpenFile would make it non-blocking, for the child too.
func (d *Dir) fifo() (*os.File, error) {
	p := d.File(StdinName)
	if err := unix.Mkfifo(p, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: p, Err: err}
	}
	if err := d.User.Own(p); err != nil {
		return nil, err
	}
	fd, err := unix.Open(p, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

// output belongs to the run's user, so that /dev/stdout and /dev/stderr can be
// opened by the child.
func (d *Dir) output(name string) (*os.File, error) {
	p := d.File(name)
	f, err := openat.Plain(p, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if err := d.User.Own(p); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close closes what was opened.
func (s Stdio) Close() {
	for _, f := range []*os.File{s.Stdin, s.Stdout, s.Stderr} {
		if f != nil {
			f.Close()
		}
	}
}
