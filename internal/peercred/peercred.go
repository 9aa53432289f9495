// Package peercred asks the kernel which process is at the other end of a unix
// socket (SO_PEERCRED of unix(7)): the peer of an HTTP connection, the service
// manager that answers.
package peercred

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Of are the pid, user and group that the peer had when it connected, or began to
// listen. The pid is 0 where it is in a pid namespace that this process can't see.
func Of(c *net.UnixConn) (cred *unix.Ucred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	controlErr := raw.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	return cred, errors.Join(controlErr, err)
}
