package scope

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"

	"penstock/cgroup/cgroupfs"
	"penstock/internal/hostinfo"
	"penstock/internal/peercred"
	"penstock/internal/procinfo"
)

// BootedDir is the directory by which sd_booted(3) tells.
const BootedDir = "/run/systemd/system"

const (
	systemManager = "system manager"
	userManager   = "user manager"
)

// Manager is a service manager whose groups are in our tree.
type Manager struct {
	*dbus.Conn
	Kind   string // systemManager or userManager
	Socket string
	Root   string // directory of the group that it manages
	mounts []procinfo.Mount
}

// managerSocket is where a manager may be reached: at a socket of its own,
// which needs no bus daemon, or through a bus.
type managerSocket struct {
	kind   string
	path   string
	direct bool
}

// managerSockets are tried in order. As systemctl does, the manager's own
// socket goes first: it is there on hosts without a bus for each user.
func managerSockets(uid int, env func(string) string) []managerSocket {
	if uid == 0 {
		return []managerSocket{
			{systemManager, "/run/systemd/private", true},
			{systemManager, "/run/dbus/system_bus_socket", false},
		}
	}
	var dirs []string
	for _, dir := range []string{env("XDG_RUNTIME_DIR"), "/run/user/" + strconv.Itoa(uid)} {
		if path.IsAbs(dir) && !slices.Contains(dirs, path.Clean(dir)) {
			dirs = append(dirs, path.Clean(dir))
		}
	}
	var all []managerSocket
	for _, dir := range dirs {
		all = append(all, managerSocket{userManager, dir + "/systemd/private", true})
	}
	buses := []string{busPath(env("DBUS_SESSION_BUS_ADDRESS"))}
	for _, dir := range dirs {
		buses = append(buses, dir+"/bus")
	}
	for i, bus := range buses {
		if bus != "" && slices.Index(buses, bus) == i {
			all = append(all, managerSocket{userManager, bus, false})
		}
	}
	return all
}

// busPath is the first socket with a name in the file system of a D-Bus address
// list; a service manager's bus always has one.
func busPath(addresses string) string {
	for address := range strings.SplitSeq(addresses, ";") {
		rest, ok := strings.CutPrefix(address, "unix:")
		if !ok {
			continue
		}
		for pair := range strings.SplitSeq(rest, ",") {
			if p, ok := strings.CutPrefix(pair, "path="); ok && !strings.Contains(p, "%") {
				return p
			}
		}
	}
	return ""
}

const (
	// LookTimeout is how long a service manager may take to answer at all, and
	// AskTimeout how long to make the scope. A host without one answers at once.
	LookTimeout = 3 * time.Second
	AskTimeout  = 20 * time.Second
)

// Connect finds the manager of this process's user that manages our tree.
func Connect(ctx context.Context) (*Manager, error) {
	return find(ctx, managerSockets(os.Geteuid(), os.Getenv))
}

// find connects to the first manager that answers and manages our tree.
func find(ctx context.Context, sockets []managerSocket) (*Manager, error) {
	var tried []error
	there := false
	for _, s := range sockets {
		m, err := s.connect(ctx)
		if err == nil {
			return m, nil
		}
		there = there || !errors.Is(err, fs.ErrNotExist)
		tried = append(tried, fmt.Errorf("%s: %w", s.path, err))
	}
	if there {
		return nil, cgroupfs.Refuse("start it from a login of this user on the host, or as a unit with Delegate=yes", "no %s can be asked: %w", sockets[0].kind, errors.Join(tried...))
	}
	remedy := "run under systemd, or with a writable cgroup tree"
	if _, err := os.Stat(BootedDir); err == nil {
		remedy = "log in as this user or run `loginctl enable-linger` for it, so that systemd starts its manager"
	}
	return nil, cgroupfs.Refuse(remedy, "no %s here: no socket at %s", sockets[0].kind, socketPaths(sockets))
}

func socketPaths(sockets []managerSocket) string {
	var all []string
	for _, s := range sockets {
		all = append(all, s.path)
	}
	return strings.Join(all, ", ")
}

// connect makes sure that what answers is a manager of our own tree: moving
// us to another's (a host's bus mounted into a container) would free us from
// the limits we are under, or lose us.
func (s managerSocket) connect(ctx context.Context) (*Manager, error) {
	m := &Manager{Kind: s.kind, Socket: s.path}
	var pid int32
	conn, err := dbus.NewConnection(func() (*godbus.Conn, error) {
		c, peer, err := s.dial(ctx)
		pid = peer
		return c, err
	})
	if err != nil {
		return nil, noAnswer(ctx, err)
	}
	m.Conn = conn
	if err := m.locate(int(pid)); err != nil {
		conn.Close()
		return nil, noAnswer(ctx, err)
	}
	return m, nil
}

func noAnswer(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("no answer: %w", context.Cause(ctx))
	}
	return err
}

// dial also tells the manager's process as our pid namespace knows it; 0 is none.
func (s managerSocket) dial(ctx context.Context) (*godbus.Conn, int32, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "unix", s.path)
	if err != nil {
		return nil, 0, unwrapNet(err)
	}
	peer, err := peercred.Of(nc.(*net.UnixConn))
	if err != nil {
		return nil, 0, errors.Join(err, nc.Close())
	}
	c, err := godbus.NewConn(nc, godbus.WithContext(ctx))
	if err != nil {
		return nil, 0, errors.Join(err, nc.Close())
	}
	if err := c.Auth([]godbus.Auth{godbus.AuthExternal(strconv.Itoa(os.Geteuid()))}); err != nil {
		c.Close()
		return nil, 0, err
	}
	if s.direct {
		return c, peer.Pid, nil
	}
	var pid uint32
	err = c.Hello()
	if err == nil {
		err = c.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, "org.freedesktop.systemd1").Store(&pid)
	}
	if err != nil {
		c.Close()
		return nil, 0, err
	}
	return c, int32(pid), nil
}

// unwrapNet leaves the cause: our message has the path.
func unwrapNet(err error) error {
	if e, ok := errors.AsType[*os.SyscallError](err); ok {
		return e.Err
	}
	return err
}

// initScope is the group that a manager itself lives in, directly below the one
// that it manages (systemd.special(7)).
const initScope = "/init.scope"

// locate finds the manager's groups in our tree and makes sure that it speaks of
// the same ones.
func (m *Manager) locate(pid int) error {
	if pid <= 0 {
		return errors.New("its process is in another pid namespace: the host's, if this is a container")
	}
	self, err := hostinfo.Host.Group(pid)
	if err != nil {
		return fmt.Errorf("its process %d: %w", pid, err)
	}
	prefix, ok := strings.CutSuffix(self, initScope)
	if !ok {
		return fmt.Errorf("its process %d is in group %s, which is no %s of a manager in our tree", pid, self, initScope[1:])
	}
	if m.mounts, err = procinfo.Host.Mounts(); err != nil {
		return err
	}
	if _, m.Root, err = cgroupfs.Locate(m.mounts, path.Join("/", prefix)); err != nil {
		return err
	}
	// Its own view of the same group: a D-Bus string, quoted.
	own, err := m.GetManagerProperty("ControlGroup")
	if err != nil {
		return err
	}
	theirs, err := strconv.Unquote(own)
	if err != nil {
		return fmt.Errorf("its ControlGroup %s: %w", own, err)
	}
	if path.Join("/", theirs) != path.Join("/", prefix) {
		return fmt.Errorf("it manages group %q and we see %q there: it has another cgroup namespace", theirs, prefix)
	}
	return nil
}

// Dir is the directory of a group that the manager names.
func (m *Manager) Dir(group string) (string, error) {
	_, dir, err := cgroupfs.Locate(m.mounts, group)
	return dir, err
}
