package spawn

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// hostileVariable makes this test binary do one hostile thing and tell how it went.
const hostileVariable = "PENSTOCK_HOSTILE"

// hostile does "verb argument"; what works is told in capitals.
func hostile(does string) int {
	verb, argument, _ := strings.Cut(does, " ")
	acts := map[string]func(string) error{
		"keyring": tellKeyring, "clone3": startInto, "connect": connect, "memory": leaveMemory, "parent": startForParent, "limit": setLimit, "signal": sendSignal, "trace": trace,
	}
	if verb == "through" {
		return passThrough(argument)
	}
	if err := acts[verb](argument); err != nil {
		fmt.Println("refused:", err)
		return 0
	}
	fmt.Println("DONE", does)
	return 0
}

// startInto starts a child in another group: clone3 takes an O_PATH descriptor.
func startInto(group string) error {
	fd, err := syscall.Open(group, 0x200000 /* O_PATH */ |syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	c := exec.Command("/bin/true")
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	return c.Run()
}

func connect(address string) error {
	c, err := net.Dial("unix", address)
	if err != nil {
		return err
	}
	return c.Close()
}

func sendSignal(pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	return syscall.Kill(n, 0)
}

func trace(pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	return syscall.PtraceAttach(n)
}

func sessionKeyring() (int, error) {
	return unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
}

func tellKeyring(string) error {
	id, err := sessionKeyring()
	fmt.Printf("keyring %d\n", id)
	return err
}

// leaveMemory makes a System V segment, which stays when its maker has gone.
func leaveMemory(string) error {
	_, err := unix.SysvShmGet(unix.IPC_PRIVATE, 1<<20, unix.IPC_CREAT|0o600)
	return err
}

// startForParent makes a process that is a child of the one that started this.
func startForParent(string) error {
	pid, _, errno := syscall.RawSyscall6(syscall.SYS_CLONE, unix.CLONE_PARENT|uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0)
	if errno != 0 {
		return errno
	}
	if pid == 0 {
		for {
			syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
		}
	}
	return nil
}

// setLimit sets the core limit of a process to what it is.
func setLimit(pid string) error {
	n, err := strconv.Atoi(pid)
	if err != nil {
		return err
	}
	var l unix.Rlimit
	if err := unix.Prlimit(n, unix.RLIMIT_CORE, nil, &l); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	return unix.Prlimit(n, unix.RLIMIT_CORE, &l, nil)
}

// newHostile is a job that is this test binary; several deeds are one process each.
func newHostile(t testing.TB, id string, deeds ...string) *job {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, d := range deeds {
		fmt.Fprintf(&text, "%s='%s' %s\n", hostileVariable, d, self)
	}
	return newJob(t, id, text.String())
}
