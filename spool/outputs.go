package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/internal/openat"
)

// Outputs are the daemon's own descriptors of the two files that a run's processes
// write to. All goes by descriptor: the run may put anything in place of the names.
type Outputs struct {
	Spool, Stderr *os.File
}

// OpenOutputs opens both for reading.
func OpenOutputs(spoolPath, stderrPath string) (*Outputs, error) {
	spool, _, err := openat.Regular(spoolPath)
	if err != nil {
		return nil, err
	}
	stderr, _, err := openat.Regular(stderrPath)
	if err != nil {
		spool.Close()
		return nil, err
	}
	return &Outputs{spool, stderr}, nil
}

// Close closes both.
func (o *Outputs) Close() {
	o.Spool.Close()
	o.Stderr.Close()
}

// Sizes are those of the spool and of stderr, in bytes.
func (o *Outputs) Sizes() (spool, stderr int64, err error) {
	if spool, err = sizeOf(o.Spool); err != nil {
		return 0, 0, err
	}
	if stderr, err = sizeOf(o.Stderr); err != nil {
		return 0, 0, err
	}
	return spool, stderr, nil
}

// sizeOf makes no os.FileInfo: a run's files are measured often.
func sizeOf(f *os.File) (int64, error) {
	var st unix.Stat_t
	err := byDescriptor(f, func(fd int) error { return os.NewSyscallError("fstat", unix.Fstat(fd, &st)) })
	return st.Size, err
}

// Are tells whether these are the files of those inodes; 0 is unknown, and any.
func (o *Outputs) Are(spool, stderr uint64) bool {
	return IsInode(o.Spool, spool) && IsInode(o.Stderr, stderr)
}

// IsInode tells whether a file has that inode; 0 is unknown, and any.
func IsInode(f *os.File, n uint64) bool {
	is, ok := InodeOf(f)
	return n == 0 || ok && is == n
}

// InodeOf is not ok of a file that can't be asked.
func InodeOf(f *os.File) (n uint64, ok bool) {
	info, err := f.Stat()
	if err != nil {
		return 0, false
	}
	return Inode(info)
}

// Inode is InodeOf a file that was asked already.
func Inode(info os.FileInfo) (n uint64, ok bool) {
	is, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return is.Ino, true
}

// stderrTail is how much of stderr's end a verdict has, in bytes.
const stderrTail = 4 << 10

// StderrTail gives the last whole lines of stderr, 4 KiB at most.
func (o *Outputs) StderrTail() (string, error) {
	size, err := sizeOf(o.Stderr)
	if err != nil || size == 0 {
		return "", nil
	}
	return ReadTail(o.Stderr, size)
}

// ReadTail gives the last whole lines among the last 4 KiB of size.
func ReadTail(r io.ReaderAt, size int64) (string, error) { return readTail(r, size, stderrTail) }

func readTail(r io.ReaderAt, size, max int64) (string, error) {
	from := size - max
	if from < 0 {
		from = 0
	}
	buf := make([]byte, size-from)
	n, err := r.ReadAt(buf, from)
	if err != nil && err != io.EOF {
		return "", err
	}
	buf = buf[:n]
	if from > 0 {
		if i := bytes.IndexByte(buf, '\n'); i >= 0 && i < len(buf)-1 {
			buf = buf[i+1:]
		}
	}
	return strings.TrimSpace(strings.ToValidUTF8(string(buf), "\uFFFD")), nil
}

// Flush gets both onto the disk. An error may also be that of an earlier write.
func (o *Outputs) Flush() error {
	flush := func(fd int) error { return os.NewSyscallError("fdatasync", unix.Fdatasync(fd)) }
	return errors.Join(byDescriptor(o.Spool, flush), byDescriptor(o.Stderr, flush))
}

// DropPages writes the outputs back and drops their pages: pages charged to the
// run's group would keep a dying memory cgroup behind after rmdir.
func (o *Outputs) DropPages() error {
	return errors.Join(byDescriptor(o.Spool, dropPages), byDescriptor(o.Stderr, dropPages))
}

// dropPages waits for the writing of the pages, not for the file system's journal: only
// dirty ones can't be dropped (sync_file_range(2)).
func dropPages(fd int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size == 0 {
		return os.NewSyscallError("fstat", err)
	}
	err := unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WAIT_BEFORE|unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	return errors.Join(os.NewSyscallError("sync_file_range", err), os.NewSyscallError("fadvise", unix.Fadvise(fd, 0, 0, unix.FADV_DONTNEED)))
}

func byDescriptor(f *os.File, call func(fd int) error) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var callErr error
	err = conn.Control(func(fd uintptr) { callErr = call(int(fd)) })
	return errors.Join(err, callErr)
}

// Trim cuts both files so that they have no more than most bytes together, the
// spool first, nor blocks beyond their ends (fallocate(2)). It tells their sizes.
func (o *Outputs) Trim(most int64) (spool, stderr int64, err error) {
	spool, err = trimFile(o.Spool, most)
	if err != nil {
		return 0, 0, err
	}
	stderr, err = trimFile(o.Stderr, most-spool)
	return spool, stderr, err
}

// slack is what a file system may allocate beyond a file's end by itself, in bytes.
const slack = 64 << 10

func trimFile(f *os.File, most int64) (size int64, err error) {
	var st unix.Stat_t
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	var statErr error
	err = conn.Control(func(fd uintptr) { statErr = unix.Fstat(int(fd), &st) })
	if err = errors.Join(err, statErr); err != nil {
		return 0, fmt.Errorf("trim %s: %w", f.Name(), err)
	}
	if st.Size <= most && st.Blocks*512 <= st.Size+slack {
		return st.Size, nil
	}
	size = min(st.Size, most)
	// The run may have taken the daemon's right to write, which an owner can take back.
	err = conn.Control(func(fd uintptr) {
		if statErr = unix.Fchmod(int(fd), 0o600); statErr == nil {
			statErr = os.Truncate(fmt.Sprintf("/proc/self/fd/%d", fd), size)
		}
	})
	if err = errors.Join(err, statErr); err != nil {
		return 0, fmt.Errorf("trim %s to %d bytes: %w", f.Name(), size, err)
	}
	return size, nil
}
