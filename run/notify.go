package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// notifier is the one inotify instance (inotify(7)) of a manager: it turns
// writes to watched files into signals.
type notifier struct {
	file *os.File // non-blocking, so that Close ends the reader
	done chan struct{}

	mu      sync.Mutex
	fd      int // -1 when closed
	watches map[int32]*broadcast
}

func newNotifier() (*notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	n := &notifier{
		file: os.NewFile(uintptr(fd), "inotify"), fd: fd,
		done: make(chan struct{}), watches: map[int32]*broadcast{},
	}
	go n.read()
	return n, nil
}

// watch signals p at each write to path. forget it with the number it returns.
func (n *notifier) watch(path string, b *broadcast) (int32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return 0, os.ErrClosed
	}
	wd, err := unix.InotifyAddWatch(n.fd, path, unix.IN_MODIFY)
	if err != nil {
		return 0, &os.PathError{Op: "inotify_add_watch", Path: path, Err: err}
	}
	n.watches[int32(wd)] = b
	return int32(wd), nil
}

// forget is also right for a watch the kernel has dropped by itself.
func (n *notifier) forget(wd int32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.watches, wd)
	if n.fd < 0 {
		return nil
	}
	if _, err := unix.InotifyRmWatch(n.fd, uint32(wd)); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("inotify_rm_watch %d: %w", wd, err)
	}
	return nil
}

func (n *notifier) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.watches)
}

func (n *notifier) read() {
	defer close(n.done)
	buf := make([]byte, 16<<10)
	for {
		got, err := n.file.Read(buf)
		if err != nil {
			return
		}
		n.dispatch(buf[:got])
	}
}

// dispatch wakes the watched runs; lost events (IN_Q_OVERFLOW) wake all.
func (n *notifier) dispatch(events []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		name := binary.NativeEndian.Uint32(events[12:])
		events = events[min(len(events), unix.SizeofInotifyEvent+int(name)):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, b := range n.watches {
				b.signal()
			}
			continue
		}
		if b := n.watches[wd]; b != nil {
			b.signal()
		}
	}
}

func (n *notifier) close() error {
	n.mu.Lock()
	n.fd = -1
	n.mu.Unlock()
	err := n.file.Close()
	<-n.done
	return err
}
