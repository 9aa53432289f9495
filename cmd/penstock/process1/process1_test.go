package process1

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func TestOpen_Small(t *testing.T) {
	path, err := exec.LookPath("true")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err != nil {
		t.Skip(err)
	}
	text := mapped(t, path)
	f, args, err := open(text, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if len(args) != 0 {
		t.Skip("this machine forbids programs in memory (vm.memfd_noexec)")
	}
	if most := os.Getpagesize() >> 10; resident(t, path) > most {
		t.Errorf("%d KiB of what it was read from stay in this process's memory, want %d", resident(t, path), most)
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

// What lies beside the string stays, and what is read again is the same.
func TestGiveBack(t *testing.T) {
	page := os.Getpagesize()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, bytes.Repeat([]byte{7}, 64*page), 0o600); err != nil {
		t.Fatal(err)
	}
	all := mapped(t, path)
	text := all[100 : len(all)-100] // as the linker lays it: at no page's beginning
	before := resident(t, path)
	giveBack(text)
	after := resident(t, path)
	if before != 64*page>>10 || after != 2*page>>10 {
		t.Errorf("%d KiB resident before, %d after", before, after)
	}
	for _, short := range []string{"", text[:1], text[:page+page/2]} {
		giveBack(short)
	}
	if strings.Count(text, "\a") != len(text) {
		t.Error("its content is another")
	}
}

// mapped is a file's content as a program's own strings are: pages of that, all in memory.
func mapped(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	pages, err := unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Munmap(pages) })
	text := unsafe.String(unsafe.SliceData(pages), len(pages))
	_ = strings.Count(text, "\a")
	return text
}

// resident is what of a mapping of a file is in this process's memory, in KiB.
func resident(t *testing.T, path string) int {
	t.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	_, entry, _ := strings.Cut(string(text), path)
	_, value, _ := strings.Cut(entry, "\nRss:")
	value, _, _ = strings.Cut(value, " kB\n")
	n, err := strconv.Atoi(strings.TrimSpace(value))
	if err != nil {
		t.Fatalf("no mapping of %s: %v", path, err)
	}
	return n
}
