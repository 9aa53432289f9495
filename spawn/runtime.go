package spawn

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"penstock/internal/hint"
	"penstock/sandbox"
	"penstock/sandbox/bubblewrap"
	"penstock/sandbox/pid1"
)

// runtimeMax bounds each try of bubblewrap.
const runtimeMax = 10 * time.Second

// OpenRuntime looks whether this host can run commands in images: whether there is a
// bubblewrap that can do it, and a process 1. An error says what is missing, and what to do.
// The caller keeps process1 open: an upgrade doesn't change what is open.
func OpenRuntime(ctx context.Context, bubblewrap string, process1 *os.File, args ...string) (*Runtime, error) {
	if process1 == nil {
		return nil, errors.New("runs in images: this program has no process 1 for them (server.Config)")
	}
	if err := checkStatic(process1); err != nil {
		return nil, fmt.Errorf("runs in images: process 1: %w", err)
	}
	if bubblewrap == "" {
		bubblewrap = "bwrap"
	}
	path, err := exec.LookPath(bubblewrap)
	if err != nil {
		return nil, hint.Errorf("apt install bubblewrap", "runs in images: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeMax)
	defer cancel()
	help, err := exec.CommandContext(ctx, path, "--help").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("runs in images: %s --help: %w", path, err)
	}
	if !bytes.Contains(help, []byte("--bind-fd ")) {
		return nil, hint.Errorf("0.10 and later have it, and Debian's 0.8.0-2+deb12u1", "runs in images: %s has no --bind-fd: a run could swap what is mounted", path)
	}
	return &Runtime{Bubblewrap: path, Process1: process1, Args: args}, nil
}

// checkStatic looks whether a program can be executed where there are no libraries.
func checkStatic(f *os.File) error {
	e, err := elf.NewFile(f)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name(), err)
	}
	for _, p := range e.Progs {
		if p.Type == elf.PT_INTERP {
			return hint.Errorf("build it with CGO_ENABLED=0", "%s: it isn't static, and an image may lack its libraries", f.Name())
		}
	}
	return nil
}

// Probe makes the namespaces and mounts of a run, with noNetwork the network of one that has
// none, and executes process 1 in them, without a job.
func (r *Runtime) Probe(ctx context.Context, noNetwork bool) error {
	args := []string{"--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup", "--hostname", "penstock", "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"}
	if !sandbox.CanMount() {
		args = append(args, "--unshare-user")
	}
	if noNetwork {
		args = append(args, "--unshare-net")
	}
	ctx, cancel := context.WithTimeout(ctx, runtimeMax)
	defer cancel()
	c := exec.CommandContext(ctx, r.Bubblewrap, slices.Concat(args, []string{"--", bubblewrap.Source(3)}, r.Args)...)
	c.Env, c.ExtraFiles = []string{}, []*os.File{r.Process1} // from 3 on
	out, err := c.CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != pid1.ExitFailed {
		return fmt.Errorf("runs in images: %w", runtimeFailed(strings.TrimSpace(string(out))))
	}
	return nil
}

// runtimeFailed explains what bubblewrap says.
func runtimeFailed(told string) error {
	if told == "" {
		return errors.New("bubblewrap has ended without a word: was it killed?")
	}
	for _, known := range []struct{ says, remedy string }{
		{"Failed to make / slave", "mount(2) is refused: the unit needs SystemCallFilter=@mount, which systemd/image.conf has with the other lines it needs; a container one with CAP_SYS_ADMIN"},
		{"Can't mount proc", "something lies over a part of /proc: the unit needs BindPaths=/proc:/run/penstock.proc:norbind, which systemd/image.conf has; a container one with an uncovered /proc"},
		{"Can't set hostname", "the unit needs SystemCallFilter=sethostname and ProtectHostname=no, which systemd/image.conf has"},
		{"uid map: Permission denied", "AppArmor keeps user namespaces from it: give bwrap a profile, set kernel.apparmor_restrict_unprivileged_userns = 0, or run penstock as root with user = ..."},
		{"No permissions to create", "turn user namespaces on by kernel.unprivileged_userns_clone and user.max_user_namespaces, or run penstock as root with user = ..."},
		{"Creating new namespace failed", "turn user namespaces on by kernel.unprivileged_userns_clone and user.max_user_namespaces; a unit may have no RestrictNamespaces= that leaves out user, mnt, pid, ipc, uts, cgroup or net"},
		{"loopback:", "network = \"none\" needs CAP_NET_ADMIN: CapabilityBoundingSet=CAP_NET_ADMIN of the unit, which systemd/root.conf has"},
		{"execvp", "the host (SELinux, AppArmor, IPE) must let bubblewrap execute a program in memory (memfd), which process 1 is"},
		{"Function not implemented", "bubblewrap 0.12 needs openat2(2), which DynamicUser= and RestrictSUIDSGID= of a unit refuse: systemd/account.conf or root.conf, and image.conf"},
		{"Race condition", "what is mounted was replaced while the run started: try again"},
	} {
		if strings.Contains(told, known.says) {
			return hint.Errorf(known.remedy, "%s", told)
		}
	}
	return errors.New(told)
}
