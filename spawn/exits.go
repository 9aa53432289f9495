package spawn

import (
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// exitPoller sees children exit: their pidfds are readable then (pidfd_open(2)). It is
// one epoll instance with one goroutine for all of them, so that a run that rests holds
// neither a goroutine nor a file of the runtime's for this.
type exitPoller struct {
	file *os.File // an epoll instance
	raw  syscall.RawConn
	done sync.WaitGroup

	mu        sync.Mutex
	last      int32
	watched   map[int32]watchedChild // by the number that an event carries
	finishing bool
}

type watchedChild struct {
	pidfd  int
	exited func()
}

func newExitPoller() (*exitPoller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch children: epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for the runtime's poller to wait on it
		unix.Close(fd)
		return nil, fmt.Errorf("watch children: %w", err)
	}
	x := &exitPoller{file: os.NewFile(uintptr(fd), "epoll"), watched: map[int32]watchedChild{}}
	if x.raw, err = x.file.SyscallConn(); err != nil {
		x.file.Close()
		return nil, fmt.Errorf("watch children: %w", err)
	}
	x.done.Go(x.loop)
	return x, nil
}

// watch calls exited once, in a goroutine of its own, when the child has exited; it is
// left a zombie. forget takes that back, and is false where exited has been called.
func (x *exitPoller) watch(pid int, exited func()) (forget func() bool, err error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	x.mu.Lock()
	for x.last++; x.watched[x.last].exited != nil; x.last++ {
	}
	number := x.last
	x.watched[number] = watchedChild{fd, exited}
	x.mu.Unlock()
	forget = func() bool {
		_, ok := x.take(number)
		return ok
	}
	var ctlErr error
	err = x.raw.Control(func(epoll uintptr) {
		ctlErr = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: number})
	})
	if err == nil {
		err = ctlErr
	}
	if err != nil {
		forget()
		return nil, fmt.Errorf("watch child %d: epoll_ctl: %w", pid, err)
	}
	return forget, nil
}

// take ends the watch of a child, once. Its pidfd's end takes it out of the epoll
// instance, too.
func (x *exitPoller) take(number int32) (w watchedChild, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if w, ok = x.watched[number]; ok {
		delete(x.watched, number)
		unix.Close(w.pidfd)
	}
	return w, ok
}

// loop ends with close, or after finish with the last child.
func (x *exitPoller) loop() {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := x.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return
		}
		for _, e := range events[:max(n, 0)] {
			if w, ok := x.take(e.Fd); ok {
				go w.exited()
			}
		}
		if x.isFinished() {
			x.file.Close()
			return
		}
	}
}

func (x *exitPoller) isFinished() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.finishing && len(x.watched) == 0
}

// finish closes it when the last child that is watched has exited: one that no signal
// reaches would stay a zombie of a program that goes on.
func (x *exitPoller) finish() {
	x.mu.Lock()
	x.finishing = true
	x.mu.Unlock()
	if x.isFinished() {
		x.close()
	}
}

// close lets those go that are still watched: nothing is told of them any more.
func (x *exitPoller) close() {
	x.file.Close()
	x.done.Wait()
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, w := range x.watched {
		unix.Close(w.pidfd)
	}
	clear(x.watched)
}
