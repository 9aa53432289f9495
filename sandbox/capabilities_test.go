package sandbox

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Each of these undoes the sandbox, or reaches the kernel, the clock or the daemon.
func TestAllowedCaps(t *testing.T) {
	for name, c := range map[string]uintptr{
		"AUDIT_CONTROL": unix.CAP_AUDIT_CONTROL, "BLOCK_SUSPEND": unix.CAP_BLOCK_SUSPEND, "BPF": unix.CAP_BPF,
		"CHECKPOINT_RESTORE": unix.CAP_CHECKPOINT_RESTORE, "DAC_READ_SEARCH": unix.CAP_DAC_READ_SEARCH, "IPC_LOCK": unix.CAP_IPC_LOCK,
		"IPC_OWNER": unix.CAP_IPC_OWNER, "LINUX_IMMUTABLE": unix.CAP_LINUX_IMMUTABLE, "MAC_ADMIN": unix.CAP_MAC_ADMIN,
		"MAC_OVERRIDE": unix.CAP_MAC_OVERRIDE, "MKNOD": unix.CAP_MKNOD, "NET_ADMIN": unix.CAP_NET_ADMIN, "PERFMON": unix.CAP_PERFMON,
		"SYSLOG": unix.CAP_SYSLOG, "SYS_ADMIN": unix.CAP_SYS_ADMIN, "SYS_BOOT": unix.CAP_SYS_BOOT, "SYS_MODULE": unix.CAP_SYS_MODULE,
		"SYS_NICE": unix.CAP_SYS_NICE, "SYS_PACCT": unix.CAP_SYS_PACCT, "SYS_PTRACE": unix.CAP_SYS_PTRACE, "SYS_RAWIO": unix.CAP_SYS_RAWIO,
		"SYS_RESOURCE": unix.CAP_SYS_RESOURCE, "SYS_TIME": unix.CAP_SYS_TIME, "SYS_TTY_CONFIG": unix.CAP_SYS_TTY_CONFIG, "WAKE_ALARM": unix.CAP_WAKE_ALARM,
	} {
		if slices.Contains(allowedCaps(), c) {
			t.Errorf("CAP_%s is granted", name)
		}
	}
}
