package systemd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
)

// Names of descriptors that one daemon hands to the next (LISTEN_FDNAMES): no
// socket unit's.
const (
	OwnSocket = "penstock-socket" // one that the daemon has opened itself
	StateLock = "penstock-lock"   // of the state directory; no socket
)

// handoverVariable has what a daemon hands to the next beside its descriptors. It begins
// like those of sd_listen_fds(3), so that it is taken out with them.
const handoverVariable = "LISTEN_PENSTOCK_WORD"

// Inherited is what a daemon was started with: sockets in the order of the socket
// unit, from systemd or from the daemon before it.
type Inherited struct {
	Listeners []net.Listener
	Names     []string // of the listeners
	Lock      *os.File // nil but after a handover
	Handover  string   // what the daemon before this one hands over in words; "" is nothing
}

// Own tells that the daemon before this one has opened the sockets.
func (g Inherited) Own() bool { return slices.Contains(g.Names, OwnSocket) }

// IsHandover tells, before Inherit, that the process was executed by the daemon that it
// is to succeed.
func IsHandover() bool {
	return slices.Contains(strings.Split(os.Getenv("LISTEN_FDNAMES"), ":"), StateLock) &&
		os.Getenv("LISTEN_PID") == strconv.Itoa(os.Getpid())
}

// Inherit takes the descriptors of sd_listen_fds(3); none is no error. It may be
// called once: it takes LISTEN_FDS out of the environment.
func Inherit() (Inherited, error) {
	handover := IsHandover()
	files := activation.Files(true)
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	g, err := InheritFiles(files, names)
	if handover {
		g.Handover = os.Getenv(handoverVariable)
	}
	return g, errors.Join(err, os.Unsetenv(handoverVariable))
}

// InheritFiles makes listeners of files that have those names, and closes the files.
func InheritFiles(files []*os.File, names []string) (g Inherited, err error) {
	for i, f := range files {
		if names[i] == StateLock {
			g.Lock = f
			continue
		}
		l, listenErr := net.FileListener(f)
		if listenErr != nil {
			err = errors.Join(err, fmt.Errorf("sockets from systemd: number %d is no stream socket that listens (hint: use ListenStream=): %w", i+1, listenErr))
		} else {
			g.Listeners, g.Names = append(g.Listeners, l), append(g.Names, names[i])
		}
		err = errors.Join(err, f.Close())
	}
	if err == nil {
		return g, nil
	}
	for _, l := range g.Listeners {
		err = errors.Join(err, l.Close())
	}
	if g.Lock != nil {
		err = errors.Join(err, g.Lock.Close())
	}
	return Inherited{}, err
}

// Environ is env with what makes Inherit of this very process, after execve(2),
// find files of those names from descriptor 3 on, and word.
func Environ(env, names []string, word string) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(v string) bool { return strings.HasPrefix(v, "LISTEN_") })
	return append(out, "LISTEN_PID="+strconv.Itoa(os.Getpid()), "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"), handoverVariable+"="+word)
}
