package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"penstock/config"
)

// listen opens every configured address, or takes given, which wins. On error
// nothing stays open.
func listen(c config.Config, given []net.Listener) ([]net.Listener, error) {
	all := given
	if len(given) == 0 {
		for _, address := range c.Listen {
			l, err := listenOne(address)
			if err != nil {
				closeAll(all)
				return nil, err
			}
			all = append(all, l)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("listen: no address configured: set listen in the configuration")
	}
	for _, l := range all {
		if len(c.Tokens) == 0 && exposed(l.Addr()) {
			closeAll(all)
			return nil, fmt.Errorf("listen: %s: reachable from other hosts and no tokens are configured: set tokens_file or listen on 127.0.0.1", l.Addr())
		}
	}
	return all, nil
}

func listenOne(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		return listenUnix(path)
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

// listenUnix makes the socket 0660. A socket nobody answers on is left from a
// daemon that was killed and is replaced; one that answers is somebody's.
func listenUnix(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("listen: unix:%s: exists and is not a socket: remove it or change listen", path)
		}
		if conn, err := net.Dial("unix", path); err == nil {
			_ = conn.Close() // only asked whether somebody is there
			return nil, fmt.Errorf("listen: unix:%s: another process answers on this socket: stop it or change listen", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("listen: unix:%s: stale socket: %w", path, err)
		}
	}
	// Between bind and chmod the umask rules; connecting needs write permission.
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: unix:%s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: unix:%s: %w", path, err), l.Close())
	}
	return l, nil
}

// exposed tells whether a TCP address can be reached from elsewhere.
func exposed(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && !tcp.IP.IsLoopback()
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		_ = l.Close() // the caller already returns the error that matters
	}
}

func addrs(listeners []net.Listener) []net.Addr {
	var out []net.Addr
	for _, l := range listeners {
		out = append(out, l.Addr())
	}
	return out
}

func names(listeners []net.Listener) []string {
	var out []string
	for _, a := range addrs(listeners) {
		out = append(out, a.Network()+":"+a.String())
	}
	return out
}
