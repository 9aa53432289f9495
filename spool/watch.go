package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Broadcast wakes all that wait; the zero value is ready. Take Wait's channel
// before looking at what it announces, else a signal in between is missed.
type Broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// Wait gives the channel that the next Signal closes.
func (b *Broadcast) Wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

// Signal wakes all that wait now.
func (b *Broadcast) Signal() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// PollEvery is how often a run's outputs are looked at where inotify is not to
// be had (fs.inotify.max_user_watches or max_user_instances used up).
const PollEvery = 50 * time.Millisecond

// WatchFiles signals writes to some files until it is stopped, which may be done
// more than once and before they are closed. It never fails: without watches it polls.
func WatchFiles(n *Notifier, b *Broadcast, log *slog.Logger, files ...*os.File) (stop func()) {
	var wds []int32
	release := func() {
		for _, wd := range wds {
			if err := n.forget(wd); err != nil {
				log.Warn("watch not removed", "err", err)
			}
		}
	}
	for _, f := range files {
		if n == nil {
			return poll(b, files)
		}
		wd, err := n.watch(f, b)
		if err != nil {
			release()
			log.Warn("no inotify watch: the run's output is polled (hint: raise fs.inotify.max_user_watches)", "every", PollEvery, "err", err)
			return poll(b, files)
		}
		wds = append(wds, wd)
	}
	return sync.OnceFunc(release)
}

func poll(b *Broadcast, files []*os.File) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(PollEvery)
		defer tick.Stop()
		var last int64
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := totalSize(files); now != last {
				last = now
				b.Signal()
			}
		}
	})
	return func() {
		cancel()
		done.Wait()
	}
}

func totalSize(files []*os.File) (total int64) {
	for _, f := range files {
		if size, err := sizeOf(f); err == nil {
			total += size
		}
	}
	return total
}

// Notifier is the one inotify instance (inotify(7)) of a manager: it turns
// writes to watched files into signals.
type Notifier struct {
	file *os.File // non-blocking, so that Close ends the reader
	done chan struct{}

	mu      sync.Mutex
	fd      int // -1 when closed
	watches map[int32]*Broadcast
}

// NewNotifier fails where no inotify instance is to be had.
func NewNotifier() (*Notifier, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify_init1: %w", err)
	}
	n := &Notifier{
		file: os.NewFile(uintptr(fd), "inotify"), fd: fd,
		done: make(chan struct{}), watches: map[int32]*Broadcast{},
	}
	go n.read()
	return n, nil
}

// watch signals b at each write to f. forget it with the number it returns. It goes by
// the descriptor: what a run puts in place of its output's name is another run's output,
// say, and the kernel has one watch of each file.
func (n *Notifier) watch(f *os.File, b *Broadcast) (int32, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fd < 0 {
		return 0, os.ErrClosed
	}
	var wd int
	err := byDescriptor(f, func(fd int) (err error) {
		wd, err = unix.InotifyAddWatch(n.fd, "/proc/self/fd/"+strconv.Itoa(fd), unix.IN_MODIFY)
		return err
	})
	if err != nil {
		return 0, &os.PathError{Op: "inotify_add_watch", Path: f.Name(), Err: err}
	}
	n.watches[int32(wd)] = b
	return int32(wd), nil
}

// forget is also right for a watch the kernel has dropped by itself.
func (n *Notifier) forget(wd int32) error {
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

// Watches tells how many files are watched.
func (n *Notifier) Watches() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.watches)
}

func (n *Notifier) read() {
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
func (n *Notifier) dispatch(events []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(events) >= unix.SizeofInotifyEvent {
		wd := int32(binary.NativeEndian.Uint32(events))
		mask := binary.NativeEndian.Uint32(events[4:])
		name := binary.NativeEndian.Uint32(events[12:])
		events = events[min(len(events), unix.SizeofInotifyEvent+int(name)):]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			for _, b := range n.watches {
				b.Signal()
			}
			continue
		}
		if b := n.watches[wd]; b != nil {
			b.Signal()
		}
	}
}

// Close ends it; what it watched is not signalled any more.
func (n *Notifier) Close() error {
	n.mu.Lock()
	n.fd = -1
	n.mu.Unlock()
	err := n.file.Close()
	<-n.done
	return err
}
