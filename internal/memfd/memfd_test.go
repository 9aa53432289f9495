package memfd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSealed(t *testing.T) {
	f, err := Sealed("text", []byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "content" {
		t.Errorf("%q %v", text, err)
	}
	refused := map[string]error{"truncated": f.Truncate(1)}
	_, refused["written"] = f.WriteAt([]byte("x"), 0)
	_, refused["sealed anew"] = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SEAL)
	for what, err := range refused {
		if !errors.Is(err, unix.EPERM) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// What has inherited it reads it from its own beginning.
	if text, err := os.ReadFile("/proc/self/fd/" + strconv.Itoa(int(f.Fd()))); err != nil || string(text) != "content" {
		t.Errorf("opened anew: %q %v", text, err)
	}
	if info, err := f.Stat(); err != nil {
		t.Error(err)
	} else if info.Mode()&0o111 != 0 && knowsKinds(t) {
		t.Errorf("it can be executed: %s", info.Mode())
	}
}

func TestProgram(t *testing.T) {
	program, err := exec.LookPath("true")
	if err != nil {
		t.Skip(err)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Program("true", string(text))
	if errors.Is(err, unix.EACCES) {
		t.Skipf("this machine has vm.memfd_noexec = 2: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	c := exec.Command("/proc/self/fd/3")
	c.Args = []string{"true"} // which busybox wants to be told
	c.ExtraFiles = []*os.File{f}
	if err := c.Run(); err != nil {
		t.Error(err)
	}
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("written to: %v", err)
	}
}

// knowsKinds tells whether the kernel knows files in memory that can't be executed.
func knowsKinds(t *testing.T) bool {
	t.Helper()
	fd, err := unix.MemfdCreate("kind", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if err != nil {
		return false
	}
	return unix.Close(fd) == nil
}
