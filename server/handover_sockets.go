package server

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// duplicates are the listeners' sockets, which stay open when the listeners are
// closed.
func duplicates(listeners []net.Listener) (files []*os.File, err error) {
	for _, l := range listeners {
		f, err := duplicate(l)
		if err != nil {
			closeFiles(files)
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

func closeFiles(files []*os.File) {
	for _, f := range files {
		_ = f.Close() // duplicates nobody has used
	}
}

// keepPaths leaves a unix socket in its place when its listener is closed.
func keepPaths(listeners []net.Listener, keep bool) {
	for _, l := range listeners {
		if u, ok := l.(*net.UnixListener); ok {
			u.SetUnlinkOnClose(!keep)
		}
	}
}
