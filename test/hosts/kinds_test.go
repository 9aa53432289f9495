package hosts

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
)

// kind is a way of having penstock on a host.
type kind struct {
	name string
	// lacks is why this machine can't show it, "" when it can.
	lacks func() string
	// wrap makes the command that runs penstock there, in the foreground.
	wrap   func(t *testing.T, h *home, argv []string) *exec.Cmd
	user   string // whose it is; "" is root
	source string
	mode   string
	// holder is what holds memory and pids.
	holder string
	// survives says whether the runs of a daemon that is killed live on.
	survives bool
}

func kinds() []kind {
	return []kind{
		{name: "systemd unit", lacks: all(pure, systemd(0)), wrap: unit("-pDelegate=yes"), source: "unit", mode: "strict", holder: "kernel"},
		{name: "systemd unit, DelegateSubgroup=", lacks: all(pure, systemd(254)), wrap: unit("-pDelegate=yes", "-pDelegateSubgroup=daemon"),
			source: "unit", mode: "strict", holder: "kernel"},
		{name: "systemd unit, no Delegate=", lacks: all(pure, systemd(0)), wrap: unit(), source: "subtree", mode: "strict", holder: "kernel"},
		{name: "user's systemd unit", lacks: all(pure, systemd(0), account("alice")), wrap: userUnit("-pDelegate=yes"), user: "alice",
			source: "unit", mode: "strict", holder: "kernel"},
		{name: "by hand, root", lacks: all(pure, systemd(0)), wrap: login("root"), source: "scope", mode: "strict", holder: "kernel", survives: true},
		{name: "by hand, user, in a login", lacks: all(pure, systemd(0), account("alice")), wrap: login("alice"), user: "alice",
			source: "scope", mode: "strict", holder: "kernel", survives: true},
		{name: "by hand, user, no environment", lacks: all(pure, systemd(0), account("alice")), wrap: byHandOf("alice"), user: "alice",
			source: "scope", mode: "strict", holder: "kernel", survives: true},
		{name: "container", lacks: all(pure, root), wrap: container("", "mount -t tmpfs none /run"), source: "subtree", mode: "strict", holder: "kernel"},
		{name: "container that sees the host's systemd", lacks: all(pure, systemd(0)), wrap: container("", ":"),
			source: "subtree", mode: "strict", holder: "kernel"},
		{name: "container, others moved out", lacks: all(pure, root), wrap: container(moveOthers, "mount -t tmpfs none /run"),
			source: "subtree", mode: "strict", holder: "kernel"},
		{name: "bare root", lacks: all(pure, root, noSystemd), wrap: byHand, source: "subtree", mode: "strict", holder: "kernel", survives: true},
		{name: "hybrid, systemd unit", lacks: all(hybrid, systemd(0)), wrap: unit("-pDelegate=yes"), source: "unit", mode: "available", holder: "watch"},
		{name: "hybrid, by hand, root", lacks: all(hybrid, systemd(0)), wrap: login("root"), source: "scope", mode: "available", holder: "watch", survives: true},
		{name: "hybrid, by hand, user", lacks: all(hybrid, systemd(0), account("alice")), wrap: login("alice"), user: "alice",
			source: "scope", mode: "available", holder: "watch", survives: true},
		{name: "hybrid, root", lacks: all(hybrid, root, noSystemd), wrap: byHand, source: "subtree", mode: "available", holder: "watch", survives: true},
	}
}

const tree = "/sys/fs/cgroup"

func all(needs ...func() string) func() string {
	return func() string {
		for _, need := range needs {
			if why := need(); why != "" {
				return why
			}
		}
		return ""
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func pure() string {
	if b, _ := os.ReadFile(tree + "/cgroup.controllers"); !strings.Contains(string(b), "memory") {
		return "this host's cgroup v2 has no memory controller"
	}
	return ""
}

func hybrid() string {
	if !exists(tree + "/unified/cgroup.procs") {
		return "this host is not a hybrid of cgroup v1 and v2"
	}
	return ""
}

func root() string {
	if os.Geteuid() != 0 {
		return "we are not root"
	}
	return ""
}

func booted() bool { return exists("/run/systemd/system") }

func noSystemd() string {
	if booted() {
		return "this host has systemd"
	}
	return ""
}

func systemd(version int) func() string {
	return func() string {
		if !booted() || root() != "" {
			return "this host has no systemd, or we are not root"
		}
		var v int
		out, _ := exec.Command("systemctl", "--version").Output()
		if _, err := fmt.Sscanf(string(out), "systemd %d", &v); err != nil || v < version {
			return fmt.Sprintf("this host's systemd %d is older than %d", v, version)
		}
		return ""
	}
}

func account(name string) func() string {
	return func() string {
		if _, err := user.Lookup(name); err != nil {
			return err.Error()
		}
		return ""
	}
}

func byHand(_ *testing.T, _ *home, argv []string) *exec.Cmd {
	return exec.Command(argv[0], argv[1:]...)
}

// byHandOf is a user's process outside any login of his.
func byHandOf(name string) func(*testing.T, *home, []string) *exec.Cmd {
	return func(t *testing.T, h *home, argv []string) *exec.Cmd {
		linger(t, name)
		return exec.Command("runuser", append([]string{"-u", name, "--", "env", "-i", "HOME=" + h.dir, "PATH=" + os.Getenv("PATH")}, argv...)...)
	}
}

// login is a session of its own, as a terminal or ssh gives.
func login(name string) func(*testing.T, *home, []string) *exec.Cmd {
	return func(t *testing.T, _ *home, argv []string) *exec.Cmd {
		linger(t, name)
		return exec.Command("su", "-l", name, "-c", "exec "+strings.Join(argv, " "))
	}
}

func unit(properties ...string) func(*testing.T, *home, []string) *exec.Cmd {
	return func(t *testing.T, h *home, argv []string) *exec.Cmd {
		return exec.Command("systemd-run", systemdRun(h, properties, argv)...)
	}
}

func userUnit(properties ...string) func(*testing.T, *home, []string) *exec.Cmd {
	return func(t *testing.T, h *home, argv []string) *exec.Cmd {
		id := linger(t, "alice")
		args := []string{"-u", "alice", "--", "env", "XDG_RUNTIME_DIR=/run/user/" + id, "systemd-run", "--user"}
		return exec.Command("runuser", append(args, systemdRun(h, properties, argv)...)...)
	}
}

func systemdRun(h *home, properties, argv []string) []string {
	h.runs++
	args := []string{"--quiet", "--wait", "--pipe", "--collect", fmt.Sprintf("--unit=%s-%d", filepath.Base(h.dir), h.runs),
		"-pOOMPolicy=continue", "-pKillMode=mixed", "--setenv=HOME=" + h.dir}
	return append(append(args, properties...), argv...)
}

// linger starts the user's manager and gives the uid.
func linger(t *testing.T, name string) string {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][]string{
		{"systemctl", "start", "systemd-logind"}, {"loginctl", "enable-linger", name}, {"systemctl", "start", "user@" + u.Uid},
	} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", c, err, out)
		}
	}
	return u.Uid
}

// moveOthers is the remedy that a refusal tells, as an entry script would do it:
// the script itself moves, too.
const moveOthers = `mkdir -p /sys/fs/cgroup/init; for p in $(cat /sys/fs/cgroup/cgroup.procs); do echo $p >/sys/fs/cgroup/init/cgroup.procs; done`

// container is what an engine makes: a group, and in it a first process with
// namespaces of its own and a writable view of the group.
func container(entry, prepare string) func(*testing.T, *home, []string) *exec.Cmd {
	return func(t *testing.T, h *home, argv []string) *exec.Cmd {
		h.runs++
		group := filepath.Join(tree, fmt.Sprintf("%s-%d", filepath.Base(h.dir), h.runs))
		if err := os.Mkdir(group, 0o755); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { removeGroups(t, group) })
		if err := os.WriteFile(tree+"/cgroup.subtree_control", []byte("+memory +pids +cpu +io"), 0); err != nil {
			t.Fatal(err)
		}
		first := ":"
		if entry != "" {
			first = "sleep 1000 & " + entry // somebody else in the container's root group
		}
		inner := "umount -l /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; mount -t proc none /proc; " + prepare + "; " + first + `; exec "$@"`
		outer := `echo 0 >"$1/cgroup.procs" || exit; shift; exec unshare --cgroup --mount sh -c "$@"`
		args := []string{"--pid", "--fork", "--kill-child", "sh", "-c", outer, "sh", group, inner, "sh"}
		return exec.Command("unshare", append(args, argv...)...)
	}
}

func removeGroups(t *testing.T, group string) {
	t.Helper()
	if err := os.WriteFile(group+"/cgroup.kill", []byte("1"), 0); err != nil {
		t.Error(err)
	}
	await(t, "the container's end", func() bool {
		b, _ := os.ReadFile(group + "/cgroup.events")
		return strings.Contains(string(b), "populated 0")
	})
	// An engine removes what is left of a container's groups, as we do here.
	for _, path := range append(groupsBelow(group), group) {
		if err := os.Remove(path); err != nil {
			t.Error(err)
		}
	}
}
