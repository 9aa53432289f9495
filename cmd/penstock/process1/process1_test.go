package process1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestOpen_Small(t *testing.T) {
	path, err := exec.LookPath("true")
	if err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, args, err := open(string(text), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(args) != 0 {
		t.Skip("this machine forbids programs in memory (vm.memfd_noexec)")
	}
	c := exec.Command("/proc/self/fd/3")
	c.Args = []string{"true"} // which busybox wants to be told
	c.ExtraFiles = []*os.File{f}
	if err := c.Run(); err != nil {
		t.Error(err)
	}
}

// A plain `go build` has no small program in it.
func TestOpen_Self(t *testing.T) {
	f, args, err := open("", quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	if self, err := os.Stat("/proc/self/exe"); err != nil || !os.SameFile(self, opened) || len(args) != 1 || args[0] != Command {
		t.Errorf("%s %q %v", f.Name(), args, err)
	}
}

// forbidden is set in a process of its own, in a pid namespace that has vm.memfd_noexec = 2:
// the kernel keeps it for each namespace.
const forbidden = "PENSTOCK_TEST_FORBIDDEN"

func TestOpen_Forbidden(t *testing.T) {
	const sysctl = "/proc/sys/vm/memfd_noexec"
	if os.Getenv(forbidden) != "" {
		if os.Getpid() != 1 {
			t.Fatal("not in a pid namespace of its own")
		}
		if err := os.WriteFile(sysctl, []byte("2"), 0); err != nil {
			t.Fatal(err)
		}
		var log bytes.Buffer
		f, args, err := open("#!/bin/true\n", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})))
		fmt.Println(f.Name(), args, err, log.String())
		return
	}
	if _, err := os.Stat(sysctl); err != nil || os.Geteuid() != 0 {
		t.Skipf("needs root and Linux 6.3: %v", err)
	}
	c := exec.Command("/proc/self/exe", "-test.run=^TestOpen_Forbidden$")
	c.Env = append(os.Environ(), forbidden+"=1")
	c.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID}
	out, err := c.CombinedOutput()
	if errors.Is(err, unix.EPERM) || strings.Contains(string(out), "read-only file system") {
		t.Skipf("this machine lets no test forbid it: %v %s", err, out)
	}
	if want := "/proc/self/exe [process1] <nil> "; err != nil || !strings.HasPrefix(string(out), want) || !strings.Contains(string(out), "level=DEBUG") || !strings.Contains(string(out), "permission denied") {
		t.Errorf("%v %s", err, out)
	}
}

// What was written into memory once more is not resident where it came from.
func TestGiveBack(t *testing.T) {
	page := os.Getpagesize()
	size := 64 * page
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, size), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	mapped, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(mapped) }()
	part := mapped[100 : size-100] // as the linker lays it: at no page's beginning
	text := unsafe.String(unsafe.SliceData(part), len(part))
	if n := strings.Count(text, "\a"); n != len(text) {
		t.Fatal(n)
	}
	before := resident(t, path)
	giveBack(text)
	after := resident(t, path)
	if before != kB(size) || after != kB(2*page) {
		t.Errorf("%s resident before, %s after", before, after)
	}
	for _, short := range []string{"", text[:1], text[:5000]} {
		giveBack(short)
	}
	if _, err := io.Copy(io.Discard, strings.NewReader(text)); err != nil || strings.Count(text, "\a") != len(text) {
		t.Error("its content is another", err)
	}
}

func kB(bytes int) string { return fmt.Sprintf("%d kB", bytes>>10) }

// resident is what of a mapping of a file is in this process's memory.
func resident(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, entry, _ := strings.Cut(string(text), path)
	_, value, ok := strings.Cut(entry, "\nRss:")
	value, _, _ = strings.Cut(value, "\n")
	if !ok {
		t.Fatalf("no mapping of %s", path)
	}
	return strings.TrimSpace(value)
}
