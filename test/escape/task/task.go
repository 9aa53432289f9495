// Package task is what the escape test and its attempts tell each other.
package task

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// Linger is the role of a marked process; its next argument is the token.
	Linger = "linger"
	// Holding is the line after which the test looks at what has changed.
	Holding = "holding"
	// Mark is the variable of every process that must not be touched; whoever
	// can write into one puts the token in its place.
	Mark = "ESCAPE_MARK"
	// Untouched is the mark's value: as long as a token.
	Untouched = "untouched0000000"
	// InImage begins the ways that are a run's in an image alone.
	InImage = "image: "
	// OpenDir is in the image, writable by everybody but for the image's being read-only.
	OpenDir = "open"
	// FirstsVariable is one that process 1 of a run in an image has.
	FirstsVariable = "GOMAXPROCS"
	// Parameter is one of the whole host's, and ParameterChanged what it is made.
	Parameter        = "/proc/sys/kernel/printk_ratelimit_burst"
	ParameterChanged = "11"
	// LateSocket appears when the daemon is up already.
	LateSocket = "/run/buildkit/buildkitd.sock"
)

// Task is one attempt, given as JSON on stdin: everything an attacker could
// find out, so that no way fails for want of a path.
type Task struct {
	Way     string
	Token   string // 16 characters
	Dir     string // writable by everybody
	Uid     int    // of the attempt
	Control bool   // outside of every cage

	Mount   string // of cgroup2
	Options string // of that file system
	Root    string // the daemon's groups
	Leaf    string // the group the daemon is in
	Sibling string // the group of another run
	RunDir  string // and its directory
	Record  string // and what the daemon believes of it

	Daemon    int // process ids
	Neighbour int // in the sibling's group
	Bystander int // same user, outside
	Other     int // another user's, outside

	Abstract string // name of a listening socket that starts a marked process for whoever asks
	Path     string // the same at a path
	TCP      string // the same on the loopback
	Setuid   string // a program of root's with the set-user-ID bit that joins a group
	Image    string // root file system of runs, as the host has it; "" is that this run has the host's
	// SetuidBound is Setuid in Dir, which a run in an image sees.
	SetuidBound string
	ManagerOf   int // a user with a service manager; 0 is none
}

// Key is a token's key of System V.
func Key(token string) int {
	key, _ := strconv.ParseUint(token[:7], 16, 32)
	return int(key) + 1
}

// Released is the file that ends a hold.
func (t Task) Released() string { return filepath.Join(t.Dir, t.Token+".go") }

// Held is the file that tells of a hold.
func (t Task) Held() string { return filepath.Join(t.Dir, t.Token+".held") }

// sockets are where those listen who start processes for others; UID stands
// for the user's number.
func sockets() map[string]string {
	return map[string]string{
		"docker":             "/run/docker.sock",
		"containerd":         "/run/containerd/containerd.sock",
		"podman":             "/run/podman/podman.sock",
		"the user's podman":  "/run/user/UID/podman/podman.sock",
		"cri-o":              "/run/crio/crio.sock",
		"libvirt":            "/run/libvirt/libvirt-sock",
		"snapd":              "/run/snapd.socket",
		"tmux":               "/tmp/tmux-UID/default",
		"screen":             "/run/screen/S-UID/1.escape",
		"the system bus":     "/run/dbus/system_bus_socket",
		"systemd":            "/run/systemd/private",
		"the user bus":       "/run/user/UID/bus",
		"the user's systemd": "/run/user/UID/systemd/private",
	}
}

// SocketNames are whose sockets are known, in order.
func SocketNames() []string {
	var out []string
	for name := range sockets() {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// SocketPath is where the socket of one is for a user.
func SocketPath(name string, uid int) string {
	return strings.ReplaceAll(sockets()[name], "UID", strconv.Itoa(uid))
}
