package listener

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// hangupPoller sees clients leave, by the state of their sockets (EPOLLRDHUP of
// epoll_ctl(2)). net/http looks by reading a byte ahead, and any byte that comes
// after a request, such as a stray line break, ends its watch.
type hangupPoller struct {
	log  *slog.Logger
	file *os.File // an epoll instance
	raw  syscall.RawConn
	done sync.WaitGroup

	mu     sync.Mutex
	last   int32
	peers  map[int32]*peer // by the number that an event carries
	warned bool            // a connection could not be watched
}

// peer is the other end of one connection.
type peer struct {
	socket net.Conn
	closed func() // called once when it has closed the connection, or its own direction
	number int32
}

func newHangupPoller(log *slog.Logger) (*hangupPoller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("watch connections: epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for the runtime's poller to wait on it
		unix.Close(fd)
		return nil, fmt.Errorf("watch connections: %w", err)
	}
	h := &hangupPoller{log: log, file: os.NewFile(uintptr(fd), "epoll"), peers: map[int32]*peer{}}
	if h.raw, err = h.file.SyscallConn(); err != nil {
		h.file.Close()
		return nil, fmt.Errorf("watch connections: %w", err)
	}
	h.done.Go(h.loop)
	return h, nil
}

func (h *hangupPoller) close() {
	h.file.Close()
	h.done.Wait()
}

// loop ends with close.
func (h *hangupPoller) loop() {
	events := make([]unix.EpollEvent, 64)
	for {
		n := 0
		err := h.raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil {
			return
		}
		for _, e := range events[:max(n, 0)] {
			h.mu.Lock()
			p := h.peers[e.Fd]
			h.mu.Unlock()
			if p != nil { // else it was closed here meanwhile
				p.closed()
			}
		}
	}
}

// register begins to watch p; not ok is that it can't.
func (h *hangupPoller) register(p *peer) (ok bool) {
	h.mu.Lock()
	for h.last++; h.peers[h.last] != nil; h.last++ {
	}
	p.number = h.last
	h.peers[p.number] = p
	h.mu.Unlock()
	err := h.add(p)
	if err == nil {
		return true
	}
	h.forget(p)
	h.mu.Lock()
	first := !h.warned
	h.warned = true
	h.mu.Unlock()
	if first {
		h.log.Warn("a connection is not watched: its client's leaving may be seen late (hint: raise fs.epoll.max_user_watches)", "err", err)
	}
	return false
}

func (h *hangupPoller) add(p *peer) error {
	socket, ok := p.socket.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T has no descriptor", p.socket)
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	var ctlErr error
	err = h.raw.Control(func(epoll uintptr) {
		ctlErr = raw.Control(func(fd uintptr) {
			err = unix.EpollCtl(int(epoll), unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: p.number})
		})
		if ctlErr == nil {
			ctlErr = err
		}
	})
	if err == nil {
		err = ctlErr
	}
	return err
}

// forget is for a connection that is about to be closed, which takes it out of
// the epoll instance, too.
func (h *hangupPoller) forget(p *peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.peers[p.number] == p {
		delete(h.peers, p.number)
	}
}
