package systemd

import (
	"errors"
	"fmt"
	"net"

	"github.com/coreos/go-systemd/v22/activation"
)

// Listeners are the sockets systemd opened for us, in the order of the socket
// unit; none is no error. It may be called once: it takes LISTEN_FDS out of
// the environment.
func Listeners() ([]net.Listener, error) {
	given, err := activation.Listeners()
	if err != nil {
		return nil, fmt.Errorf("sockets from systemd: %w", err)
	}
	var all []net.Listener
	for i, l := range given {
		if l == nil {
			for _, open := range all {
				err = errors.Join(err, open.Close())
			}
			return nil, errors.Join(fmt.Errorf("sockets from systemd: number %d is no stream socket that listens (hint: use ListenStream=)", i+1), err)
		}
		all = append(all, l)
	}
	return all, nil
}
