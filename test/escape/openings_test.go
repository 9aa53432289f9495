package escape

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/test/daemon"
	"penstock/test/escape/task"
)

// cage is what holds a column's runs, as far as it decides what is open.
type cage struct {
	none     bool // the daemon says that nothing does
	mounts   bool // a mount namespace of the launcher's: what is hidden is hidden
	landlock bool
	scopes   bool // Landlock domains with a scope for signals and abstract sockets
	root     bool // the run is root
	same     bool // the run is the daemon's own user
	unit     bool // the shipped one, with a /tmp of its own
}

func (c *column) cage() cage {
	escape := c.escape
	return cage{
		none:     strings.HasPrefix(escape, "none"),
		mounts:   strings.HasPrefix(escape, "mount namespace"),
		landlock: strings.Contains(escape, "landlock,") || strings.HasSuffix(escape, "landlock"),
		scopes:   scopes(),
		root:     c.base.Uid == 0,
		same:     c.base.Uid == c.uid,
		unit:     strings.Contains(c.kind, " unit"),
	}
}

// scopes asks the kernel as the launcher does: ABI 6, with erratum 2 mended.
func scopes() bool {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < 6 {
		return false
	}
	mended, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 2)
	return errno == 0 && mended&2 != 0
}

// openings are the ways known to lead out of this column's runs, each with the
// reason; docs/escape-matrix.md says the same.
func (c *column) openings() map[string]string {
	is := c.cage()
	if c.image {
		return c.imageOpenings(is)
	}
	known := map[string]string{
		"TCP on the loopback":         "the network is not isolated",
		"socket at a path of no fame": "isolation.hide names what is known, not every server",
	}
	add := func(when bool, why string, ways ...string) {
		for _, way := range ways {
			if when {
				known[way] = why
			}
		}
	}
	add(!is.scopes || !is.landlock, "no Landlock scope for abstract sockets in this kernel", "abstract socket")
	add(!is.scopes || !is.landlock, "no Landlock scope for signals in this kernel", "stop by a signal: a sibling", "stop by a signal: a bystander")
	add((!is.scopes || !is.landlock) && is.same, "no Landlock scope for signals in this kernel; the filter knows the daemon's pid, not its threads",
		"stop by a signal: a thread of the daemon")
	add(is.same && !is.root, "one user may lower the priority of what has no more capabilities than itself", "renice the daemon")
	add(is.same, "one user's files", "write into a sibling's directory")
	add(is.same && is.root, "the file is root's; the daemon puts it back within 2 s", "raise the daemon's oom_score_adj")
	add(c.uid != 0, "the daemon can't give each run an IPC namespace", "System V shared memory stays")
	add(is.root && !is.unit, "root may write what others run later", "a script everybody's shells run")
	add(!is.landlock, "without Landlock the processes of one user can trace each other",
		"ptrace a sibling", "process_vm_writev to a sibling", "/proc/PID/mem of a sibling")
	add(!is.landlock && !is.root, "without Landlock the processes of one user can trace each other",
		"ptrace a bystander", "process_vm_writev to a bystander", "/proc/PID/mem of a bystander")
	add(!is.landlock && is.root, "without Landlock root can pass through another user's process", "another user's ids, /proc/PID/root")
	if !is.mounts {
		for _, name := range task.SocketNames() {
			add(!is.unit, "only root can hide", "socket of "+name)
		}
		add(true, "only root can hide, and a unit only what is there when it starts", "socket of an engine started later")
		if _, err := os.Stat("/run/systemd/system"); err == nil && c.base.ManagerOf == c.base.Uid {
			add(true, "only root can hide: the user's own service manager starts what its user asks for", "systemd-run --user",
				"StartTransientUnit: user bus", "StartTransientUnit: user's socket", "another user's service manager")
			delete(known, "socket of the user bus") // no listener of the test's
			delete(known, "socket of the user's systemd")
		}
		add(!is.unit, "nothing is hidden", "user+mount namespaces: uncover what is hidden")
	}
	add(is.none, "neither Landlock nor a mount namespace: durable runs are refused",
		"write a run's record", "put another record in a run's place", "put another store in the daemon's place", "user+mount namespaces: uncover a run's record")
	add(is.none, "no Landlock and no mount namespace: only the kill holds (and strict mode refuses to start)",
		"/proc/BYSTANDER/root", "/proc/DAEMON/cwd", "io_uring opens and writes", "make a group outside and join it", "raise its own limits", "raise the limits of all runs", "remount read-write", "set-user-ID program",
		"user namespace: write cgroup.procs, clone3", "user+mount namespaces: remount, unmount, bind, fresh",
		"write cgroup.procs of a sibling", "write cgroup.procs of the daemon")
	return known
}

// imageOpenings are those of runs in an image: the host's network, what a bound directory
// shows, and nothing else.
func (c *column) imageOpenings(is cage) map[string]string {
	known := map[string]string{
		"TCP on the loopback":         "the network is the host's",
		"socket at a path of no fame": "it is in a directory that is bound",
	}
	if !is.scopes {
		known["abstract socket"] = "the network is the host's, and this kernel has no Landlock scope for abstract sockets"
	}
	return known
}

// documented is a column of docs/escape-matrix.md, by way; empty when it has
// none of that name.
func documented(t *testing.T, column string) map[string]string {
	t.Helper()
	file := os.Getenv("PENSTOCK_MATRIX")
	if file == "" {
		file = filepath.Join(daemon.Top(t), "docs", "escape-matrix.md")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	words := map[string]string{"held": "held", "**open**": "ESCAPED", "–": "n/a"}
	at, out := -1, map[string]string{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) < 2 || !strings.HasPrefix(line, "|") {
			at = -1
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if cells[0] == "way" {
			for i, name := range cells {
				if name == column {
					at = i
				}
			}
			continue
		}
		if at > 0 && at < len(cells) {
			out[strings.Trim(cells[0], "`")] = words[cells[at]]
		}
	}
	return out
}
