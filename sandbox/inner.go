package sandbox

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// InnerOptions are of the sandbox that process 1 of a run with a root file system of its
// own puts on the CLI.
type InnerOptions struct {
	// NoFile is the limit of open files that the daemon was started with; nil is this process's.
	NoFile          *syscall.Rlimit
	AbstractSockets bool // see MaskPaths
}

// Inner starts a child in the sandbox from a process that is in the child's namespaces
// already: what a Launcher's thread inherits to its children, such a process has from it.
type Inner struct{ restrictions restrictions }

// OpenInner prepares the calling thread, which the caller has locked; no other may start
// the child. That has none of this process's capabilities as another user, what a child of
// a Launcher has as root, and can't reach this process's descriptors nor its memory.
func OpenInner(o InnerOptions) (*Inner, error) {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("prctl PR_SET_DUMPABLE: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("prctl PR_SET_NO_NEW_PRIVS: %w", err)
	}
	if err := dropInheritedCaps(); err != nil {
		return nil, err
	}
	// With CAP_SETPCAP, which this process has as root or in its user namespace.
	if err := limitBoundingSet(allowedCaps()); err != nil {
		return nil, err
	}
	i := &Inner{restrictions: noRestrictions()}
	i.restrictions.noFile = o.NoFile
	abi := LandlockABI()
	var err error
	if i.restrictions.domain, err = innerDomain(abi, o.AbstractSockets); err != nil {
		return nil, err
	}
	if !seccompWorks() {
		return nil, errors.Join(errors.New("seccomp: not in this kernel"), i.restrictions.close())
	}
	i.restrictions.filter = putOnInner(innerPIDs(abi))
	return i, nil
}

// ForkExec is Launcher.ForkExec for the thread that has opened i. The child is by its number: an
// os.Process starts another to see what the kernel can do.
func (i *Inner) ForkExec(c Child) (pid int, err error) {
	defer runtime.KeepAlive(i)
	return i.restrictions.forkExec(c)
}

// DropCaps takes from this process, all of its threads, what it has no use for once the CLI
// is started: only signals to another user's process are left to it.
func (i *Inner) DropCaps() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var has, keep [2]unix.CapUserData
	if err := unix.Capget(&header, &has[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	keep[0].Effective = has[0].Effective & (1 << unix.CAP_KILL)
	keep[0].Permitted = keep[0].Effective
	header.Pid = 0
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&header)), uintptr(unsafe.Pointer(&keep[0])), 0)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}

// innerPIDs are what the CLI may not signal where no Landlock scope keeps it from process 1.
func innerPIDs(abi int) []uint32 {
	if abi >= ScopeABI {
		return nil
	}
	return []uint32{1}
}

// innerDomain keeps the CLI from passing through process 1. There is no cgroup mount to
// keep it from: none is in its mount namespace. -1 is a kernel without Landlock.
func innerDomain(abi int, abstract bool) (fd int, err error) {
	switch {
	case abi >= ScopeABI:
		return createRuleset(unix.LandlockRulesetAttr{Scoped: scopes(abi, abstract)})
	case abi < 2: // there a domain forbids every rename between directories
		return -1, nil
	}
	rules, err := newRuleset(abi, 0)
	if err != nil {
		return -1, err
	}
	if err := rules.allow("/", true); err != nil {
		return -1, errors.Join(err, unix.Close(rules.fd))
	}
	return rules.fd, nil
}

// StepExecute is the last one: execve(2).
const StepExecute = "execute"

// Step is what a child was about when it could not be started: "enter its directory"; "" is
// that it was not even forked.
func Step(err error) string {
	if failed, ok := errors.AsType[*stepError](err); ok {
		return failed.stage.String()
	}
	return ""
}

// stepError is an errno with the step it comes from.
type stepError struct {
	stage stage
	err   error
}

func (e *stepError) Error() string { return e.err.Error() }
func (e *stepError) Unwrap() error { return e.err }

// String tells a person.
func (s stage) String() string {
	switch s {
	case stageSession:
		return "begin a session"
	case stageIdentity:
		return "take its user"
	case stageDirectory, stageStartDir:
		return "enter its directory"
	case stageFiles:
		return "take its files"
	case stageSandbox:
		return "put on its sandbox"
	case stageExec:
		return StepExecute
	}
	return ""
}
