package spawn

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// landlockErrata asks for a bitmap of the mended errata (Linux 6.15, and
	// stable kernels since).
	landlockErrata = 1 << 1
	// scopedSignalErratum is erratum 2: before its cure, a thread in a signal
	// scope can't signal the other threads of its own process, which Go's
	// scheduler does.
	scopedSignalErratum = 1 << 1
)

// landlockABI is what the kernel speaks; 0 where it has no Landlock or has it
// switched off.
func landlockABI() int {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// scopesSignals tells whether a domain can be made of a signal scope alone.
func scopesSignals() bool {
	if landlockABI() < 6 {
		return false
	}
	mended, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, landlockErrata)
	return errno == 0 && mended&scopedSignalErratum != 0
}

// sealProcesses puts the calling thread into a Landlock domain, from which
// ptrace_may_access refuses every process outside: its root, cwd, descriptors,
// environment and memory in /proc stay closed to a root child, which could
// otherwise take any user's ids. A domain that handles file access would forbid
// mount(2) and with it every CLI's own sandbox, so it is a signal scope where
// the kernel has that: children may signal each other, nobody else.
func sealProcesses() error {
	if !scopesSignals() {
		return sealLandlock()
	}
	attr := unix.LandlockRulesetAttr{Scoped: unix.LANDLOCK_SCOPE_SIGNAL}
	// Up to the last member that ABI 6 knows.
	size := unsafe.Offsetof(attr.Scoped) + unsafe.Sizeof(attr.Scoped)
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), size, 0)
	if errno != 0 {
		return fmt.Errorf("landlock_create_ruleset: signal scope: %w", errno)
	}
	defer unix.Close(int(fd))
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("landlock_restrict_self: %w", errno)
	}
	return nil
}
