package listener

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/config"
)

// Open opens every configured address, or takes given, which wins. On error
// nothing stays open.
func Open(ctx context.Context, c config.Config, given []net.Listener) ([]net.Listener, error) {
	all := given
	if len(given) == 0 {
		for _, address := range c.Listen {
			l, err := listenSoon(ctx, address)
			if err != nil {
				CloseAll(all)
				return nil, err
			}
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("listen: no address configured: set listen in the configuration")
	}
	for _, l := range all {
		if err := refuseExposed(c, l); err != nil {
			CloseAll(all)
			return nil, err
		}
	}
	return all, nil
}

const (
	// addressBusyMax bounds how long an address is taken whose daemon was killed amid a
	// fork: until it executes, the child has all descriptors that the daemon had.
	addressBusyMax = 2 * time.Second
	bindEvery      = 10 * time.Millisecond
)

// listenSoon is listenOne that asks again for a while where the address is taken.
func listenSoon(ctx context.Context, address string) (net.Listener, error) {
	for late := time.After(addressBusyMax); ; {
		l, err := listenOne(address)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return l, err
		}
		select {
		case <-time.After(bindEvery):
		case <-late:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("listen: %s: %w", address, ctx.Err())
		}
	}
}

func refuseExposed(c config.Config, l net.Listener) error {
	if len(c.Tokens) > 0 || !Exposed(l.Addr()) {
		return nil
	}
	return fmt.Errorf("listen: %s: reachable from other hosts and no tokens are configured: set tokens_file or listen on 127.0.0.1", l.Addr())
}

func listenOne(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return ListenUnix(path)
	}
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen: %s: another process has this port: stop it or change listen: %w", address, err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: %s: %w", address, err)
	}
	return l, nil
}

// removeStale removes a socket on which nothing answers; a daemon that is just ending may
// do that itself.
func removeStale(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// ListenUnix makes the socket 0660. A socket on which nothing answers is left from
// a daemon that was killed and is replaced; one that answers belongs to another process.
func ListenUnix(path string) (net.Listener, error) {
	stale, err := socketFree(path)
	if err != nil {
		return nil, err
	}
	if stale {
		if err := removeStale(path); err != nil {
			return nil, fmt.Errorf("listen: unix:%s: stale socket: %w", path, err)
		}
	}
	// Between bind and chmod the umask rules; connecting needs write permission.
	l, err := net.Listen("unix", path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listen: unix:%s: no directory %s: make it or change listen: %w", path, filepath.Dir(path), err)
	}
	if err != nil {
		return nil, fmt.Errorf("listen: unix:%s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: unix:%s: %w", path, err), l.Close())
	}
	return l, nil
}

// socketFree refuses a path that is in use; stale is a socket on which nothing
// answers and that must be removed first.
func socketFree(path string) (stale bool, err error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("listen: unix:%s: %w", path, err)
	}
	if info.Mode().Type() != os.ModeSocket {
		return false, fmt.Errorf("listen: unix:%s: exists and is not a socket: remove it or change listen", path)
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close() // only asked whether anything answers
		return false, fmt.Errorf("listen: unix:%s: another process answers on this socket: stop it or change listen: %w", path, syscall.EADDRINUSE)
	}
	return true, nil
}

// Check says of each address of Config.Listen why Run could not open it now,
// with all before it open; nil where it could. It leaves nothing behind.
func Check(c config.Config) []error {
	errs := make([]error, len(c.Listen))
	var open []net.Listener
	defer func() { CloseAll(open) }()
	for i, address := range c.Listen {
		if path, ok := strings.CutPrefix(address, "unix:"); ok {
			stale, err := socketFree(path)
			if err == nil && stale { // Run would remove it
				err = unix.Access(filepath.Dir(path), unix.W_OK|unix.X_OK)
			}
			if errs[i] = err; err != nil || stale {
				continue
			}
		}
		l, err := listenOne(address)
		if err == nil {
			open = append(open, l)
			err = refuseExposed(c, l)
		}
		errs[i] = err
	}
	return errs
}

// Missing are the configured addresses that the given sockets stand in for
// without being them.
func Missing(configured []string, given []net.Listener) []string {
	if len(given) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(configured), func(address string) bool {
		if !strings.HasPrefix(address, "unix:") {
			address = "tcp:" + address
		}
		return slices.Contains(Names(given), address)
	})
}

// Exposed tells whether a TCP address can be reached from elsewhere.
func Exposed(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

func CloseAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // the caller already returns the error that matters
	}
}

func Addrs(listeners []net.Listener) []net.Addr {
	var out []net.Addr
	for _, l := range listeners {
		out = append(out, l.Addr())
	}
	return out
}

func Names(listeners []net.Listener) []string {
	var out []string
	for _, a := range Addrs(listeners) {
		out = append(out, a.Network()+":"+a.String())
	}
	return out
}

// Duplicates are the listeners' sockets, which stay open when the listeners are
// closed.
func Duplicates(listeners []net.Listener) (files []*os.File, err error) {
	for _, l := range listeners {
		f, err := duplicate(l)
		if err != nil {
			CloseFiles(files)
			return nil, fmt.Errorf("duplicate listener %s: %w", l.Addr(), err)
		}
		files = append(files, f)
	}
	return files, nil
}

func duplicate(l net.Listener) (*os.File, error) {
	socket, ok := l.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("%T: %w", l, errors.ErrUnsupported)
	}
	return socket.File()
}

func CloseFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // duplicates that were not used
	}
}

// KeepPaths leaves a unix socket in its place when its listener is closed.
func KeepPaths(listeners []net.Listener, keep bool) {
	for _, l := range listeners {
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(!keep)
		}
	}
}
