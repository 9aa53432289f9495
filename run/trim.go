package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// trim leaves no more on disk of what the run has written than output_max, and
// nothing that the run has put in the place of its outputs. Its group is empty.
func (w *watcher) trim() {
	if w.outputs == nil { // of an earlier daemon, and not started anew
		if err := w.run.dir.trim(w.will); err != nil {
			w.run.log.Warn("output not trimmed: it takes more of the disk than output_max", "err", err)
		}
		return
	}
	spool, stderr, err := w.outputs.trim(w.spec.OutputMax)
	if err != nil {
		w.run.log.Warn("output not trimmed: it takes more of the disk than output_max", "err", err)
		return
	}
	for name, ours := range map[string]*os.File{spoolName: w.outputs.spool, stderrName: w.outputs.stderr} {
		if err := w.run.dir.removeOther(name, ours); err != nil {
			w.run.log.Warn("what lies in the place of the run's output is not removed", "err", err)
		}
	}
	w.run.mu.Lock()
	defer w.run.mu.Unlock()
	w.run.final = spool
	w.run.record.OutputBytes = spool + stderr
}

// trim cuts both files so that they have no more than most bytes together, the
// spool first, nor blocks beyond their ends (fallocate(2)). It tells their sizes.
func (o *outputs) trim(most int64) (spool, stderr int64, err error) {
	spool, err = trimFile(o.spool, most)
	if err != nil {
		return 0, 0, err
	}
	stderr, err = trimFile(o.stderr, most-spool)
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
	// By descriptor: the run may have put anything in place of the name, and taken
	// the daemon's right to write, which an owner can take back.
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

// removeOther removes what has the name of an output and isn't it.
func (d *directory) removeOther(name string, ours *os.File) error {
	mine, err := ours.Stat()
	if err != nil {
		return err
	}
	root, err := d.root()
	if err != nil {
		return err
	}
	defer root.Close()
	if found, err := root.Lstat(name); err != nil || os.SameFile(found, mine) {
		return nil // gone already, or what it should be
	}
	return removeAll(root, name)
}

// trim is for a run whose end no daemon has seen; w is nil where that isn't durable.
func (d *directory) trim(w *will) error {
	most := int64(defaultOutputMax)
	if w != nil && w.OutputMax > 0 {
		most = w.OutputMax
	}
	o, err := d.openOutputs()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer o.close()
	_, _, err = o.trim(most)
	return err
}
