// Package disktest gives a test a file system of its own: one that it can freeze
// (FIFREEZE, linux/fs.h), after which a writer sleeps uninterruptibly, in state
// D, where no signal reaches it; and one on a device that forgets in a power cut
// what was not flushed. It needs to be root over a machine that may be broken,
// so it is for the labs.
package disktest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	fiFreeze = 0xc0045877 // _IOWR('X', 119, int)
	fiThaw   = 0xc0045878
	size     = 8 << 20
)

// Disk is a mounted ext4 file system on a loop device.
type Disk struct {
	Dir    string
	tb     testing.TB
	frozen bool
}

// New mounts one until the test's end, and skips where the machine is no lab.
func New(tb testing.TB) *Disk {
	tb.Helper()
	if os.Getenv("PENSTOCK_LAB") != "1" {
		tb.Skip("this machine is no lab (PENSTOCK_LAB=1): it must not have frozen file systems")
	}
	image := filepath.Join(tb.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		tb.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", image).CombinedOutput(); err != nil {
		tb.Skipf("this machine makes no ext4 file system: %v %s", err, out)
	}
	device, release, err := attach(image)
	if err != nil {
		tb.Skipf("this machine has no loop device: %v", err)
	}
	tb.Cleanup(release)
	d := &Disk{Dir: tb.TempDir(), tb: tb}
	if err := unix.Mount(device, d.Dir, "ext4", 0, ""); err != nil {
		tb.Fatalf("mount %s: %v", device, err)
	}
	tb.Cleanup(func() {
		d.Thaw()
		if err := unix.Unmount(d.Dir, unix.MNT_DETACH); err != nil {
			tb.Errorf("unmount %s: %v", d.Dir, err)
		}
	})
	return d
}

// Freeze stops all writers until Thaw.
func (d *Disk) Freeze() {
	d.tb.Helper()
	if err := d.control(fiFreeze); err != nil {
		d.tb.Fatalf("freeze %s: %v", d.Dir, err)
	}
	d.frozen = true
}

// Thaw lets them go on; thawing twice is no error.
func (d *Disk) Thaw() {
	d.tb.Helper()
	if !d.frozen {
		return
	}
	d.frozen = false
	if err := d.control(fiThaw); err != nil {
		d.tb.Errorf("thaw %s: %v", d.Dir, err)
	}
}

func (d *Disk) control(request uint) error {
	fd, err := unix.Open(d.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlSetInt(fd, request, 0)
}

// attach puts the image behind a free loop device (loop(4)).
func attach(image string) (device string, release func(), err error) {
	dev, err := devices("loop", "loop-control")
	if err != nil {
		return "", nil, err
	}
	control, err := os.OpenFile(dev+"/loop-control", os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return "", nil, fmt.Errorf("LOOP_CTL_GET_FREE: %w", err)
	}
	device = fmt.Sprintf("%s/loop%d", dev, n)
	loop, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return "", nil, err
	}
	back, err := os.OpenFile(image, os.O_RDWR, 0)
	if err != nil {
		return "", nil, errors.Join(err, loop.Close())
	}
	defer back.Close()
	if err := unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_SET_FD, int(back.Fd())); err != nil {
		return "", nil, errors.Join(fmt.Errorf("LOOP_SET_FD: %w", err), loop.Close())
	}
	return device, func() {
		_ = unix.IoctlSetInt(int(loop.Fd()), unix.LOOP_CLR_FD, 0) // the last unmount frees it too
		loop.Close()
	}, nil
}

// devices is where the kernel makes device files, among them the one given, once
// the module is there: the lab in UML has the host's /dev, which is not its own.
func devices(module, file string) (string, error) {
	for _, load := range []func() error{func() error { return nil }, func() error { return loadModule(module) }} {
		if err := load(); err != nil {
			return "", err
		}
		for _, dir := range []string{"/run/dev", "/dev"} {
			if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("no %s", file)
}

// loadModule inserts a block driver's module by hand where modprobe doesn't find it.
func loadModule(name string) error {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	release := unix.ByteSliceToString(uts.Release[:])
	for _, top := range []string{"/usr/lib/uml/modules", "/lib/modules"} {
		found, err := filepath.Glob(filepath.Join(top, release, "kernel/drivers/block", name+".ko"))
		if err != nil || len(found) == 0 {
			continue
		}
		f, err := os.Open(found[0])
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.FinitModule(int(f.Fd()), "", 0)
	}
	out, err := exec.Command("modprobe", name).CombinedOutput()
	if err != nil {
		return fmt.Errorf("modprobe %s: %w: %s", name, err, strings.TrimSpace(string(out)))
	}
	return nil
}
