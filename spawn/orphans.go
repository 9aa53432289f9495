package spawn

import (
	"errors"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// bootedBySystemd is the directory by which sd_booted(3) tells.
const bootedBySystemd = "/run/systemd/system"

// orphanLook is how often zombies are looked for that no signal has told of.
const orphanLook = 5 * time.Second

// children are this process's: those that a supervisor waits for, whose exit
// status is its own, and orphans that the kernel has given to us, which no supervisor waits
// for and would stay zombies, each of them counted in its group.
type children struct {
	mu      sync.Mutex
	forking int // starts under way: a new child may be theirs
	known   map[int]struct{}
	left    bool // the reaper had to leave one that could be a supervisor's

	caught chan os.Signal // nil: orphans are not ours to reap
	quit   chan struct{}
	done   chan struct{}
}

// fork calls start, which makes at most one child, and knows that.
func (c *children) fork(start func() (*os.Process, error)) (*os.Process, error) {
	c.mu.Lock()
	c.forking++
	c.mu.Unlock()
	proc, err := start()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forking--
	if err == nil {
		c.known[proc.Pid] = struct{}{}
	}
	c.wakeForLeft()
	return proc, err
}

func (c *children) know(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known[pid] = struct{}{}
}

// forget is called when a child's status has been taken.
func (c *children) forget(pid int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, pid)
	c.wakeForLeft()
}

// wakeForLeft has the reaper look again where it had to leave one: what it could not see
// behind that may be its own. mu is held.
func (c *children) wakeForLeft() {
	if !c.left {
		return
	}
	c.left = false
	select {
	case c.caught <- nil:
	default: // none, or it is to look already
	}
}

// reapOrphans begins to reap what no supervisor knows. All leaders of an earlier
// program in this process must be known by then. Where process 1 may be a program
// that reaps nothing, such as a container's, orphans come to us (prctl(2)).
func (c *children) reapOrphans(log *slog.Logger) {
	if _, err := os.Stat(bootedBySystemd); errors.Is(err, os.ErrNotExist) {
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			log.Warn("orphans of runs are left to process 1", "err", err)
		}
	}
	c.mu.Lock()
	c.caught, c.quit, c.done = make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	c.mu.Unlock()
	signal.Notify(c.caught, unix.SIGCHLD)
	go c.follow(log)
}

// stop reaps no more, so that a program executed next finds its leaders.
func (c *children) stop() {
	if c.quit == nil {
		return
	}
	signal.Stop(c.caught)
	close(c.quit)
	<-c.done
	c.quit = nil
}

func (c *children) follow(log *slog.Logger) {
	defer close(c.done)
	tick := time.NewTicker(orphanLook)
	defer tick.Stop()
	for {
		more := c.reapOne(log)
		select {
		case <-c.quit:
			return
		default:
		}
		if more {
			continue
		}
		select {
		case <-c.quit:
			return
		case <-c.caught:
		case <-tick.C:
		}
	}
}

// reapOne is false where there is nothing to be reaped, or a supervisor has to
// take its own first.
func (c *children) reapOne(log *slog.Logger) bool {
	pid, err := firstZombie()
	if pid == 0 {
		if err != nil && !errors.Is(err, unix.ECHILD) {
			log.Warn("orphans not looked for", "err", err)
		}
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.known[pid]; ok || c.forking > 0 {
		c.left = true
		return false
	}
	_, err = unix.Wait4(pid, nil, unix.WNOHANG, nil)
	log.Debug("orphan reaped", "pid", pid, "err", err)
	return err == nil || errors.Is(err, unix.ECHILD) // its supervisor was just done with it
}

// zombie is siginfo_t as waitid(2) fills it in.
type zombie struct {
	signo, errno, code int32
	_                  [0]uintptr
	pid                int32
	_                  [128]byte
}

// firstZombie is a child that has ended, which it leaves as it is; 0 is none.
func firstZombie() (pid int, err error) {
	for {
		var z zombie
		_, _, errno := unix.Syscall6(unix.SYS_WAITID, unix.P_ALL, 0, uintptr(unsafe.Pointer(&z)), unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, 0, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(z.pid), nil
	}
}
