package cgroup

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestGroup_CountFiles(t *testing.T) {
	open := func(path string) *os.File {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), path)
	}
	g := newGroup(t, watchedRoot(t), "files", nil)
	proc := open("/proc")
	if err := g.CountFiles(proc); err == nil {
		t.Error("/proc was taken for a tmpfs")
	}
	if err := proc.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("what is not counted is left open: %v", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &fs); err != nil || fs.Type != unix.TMPFS_MAGIC {
		t.Skip("this machine's /dev/shm is no tmpfs")
	}
	file, err := os.CreateTemp("/dev/shm", "penstock-test-")
	if err == nil {
		defer os.Remove(file.Name())
		defer file.Close()
		_, err = file.Write(make([]byte, 1<<20))
	}
	if err != nil {
		t.Fatal(err)
	}
	shm := open("/dev/shm")
	if err := g.CountFiles(shm); err != nil {
		t.Fatal(err)
	}
	if s, err := g.sample(); err != nil || s.memory < 1<<20 || s.tasks != 0 {
		t.Errorf("%+v, %v", s, err)
	}
	end(t, g)
	if err := shm.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the files of a group that is gone are held: %v", err)
	}
}

// A tmpfs without a limit of files tells none.
func TestBytesOf(t *testing.T) {
	for want, s := range map[uint64]unix.Statfs_t{
		0:             {},
		8<<12 + 3<<10: {Bsize: 4096, Blocks: 20, Bfree: 12, Files: 9, Ffree: 6},
		8 << 12:       {Bsize: 4096, Blocks: 20, Bfree: 12},
		1 << 10:       {Bsize: 4096, Blocks: 4, Bfree: 5, Files: 1},
	} {
		if got := bytesOf(s); got != want {
			t.Errorf("%+v: %d, want %d", s, got, want)
		}
	}
}
