package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// imageWays are out of a run that has a root file system of its own. The control does the
// same from the host, to the image's files and to a bystander in place of process 1.
func imageWays() map[string]func(*attempt) error {
	return map[string]func(*attempt) error{
		task.InImage + "write the image":                        writeImage,
		task.InImage + "remount the image and write it":         remountImage,
		task.InImage + "user+mount namespaces: write the image": func(a *attempt) error { return a.inside(ownMounts, "image") },
		inside + "image": remountImage,
		task.InImage + "a descriptor of process 1":      firstsDescriptors,
		task.InImage + "ptrace process 1":               held(func(a *attempt) error { return a.trace(a.first()) }),
		task.InImage + "process_vm_writev to process 1": held(func(a *attempt) error { return a.poke(a.first(), vmWrite) }),
		task.InImage + "/proc/PID/mem of process 1":     held(func(a *attempt) error { return a.poke(a.first(), memWrite) }),
		task.InImage + "a device in a bound directory":  makeDevice,
		task.InImage + "set-ID in a bound directory":    setuidBound,
		task.InImage + "a key of its user's":            leaveKey,
	}
}

// first is process 1 of the run, or the bystander that stands for it.
func (a *attempt) first() int {
	if a.Control {
		return a.Bystander
	}
	return 1
}

// held has the test look while the run lives: process 1 is gone with it.
func held(way func(*attempt) error) func(*attempt) error {
	return func(a *attempt) error {
		err := way(a)
		if err == nil {
			a.hold()
		}
		return err
	}
}

// imageDir is where everybody could write in the image, were it writable.
func (a *attempt) imageDir() string {
	if a.Control {
		return filepath.Join(a.Image, task.OpenDir)
	}
	return "/" + task.OpenDir
}

func writeImage(a *attempt) error {
	return os.WriteFile(filepath.Join(a.imageDir(), "escape-"+a.Token), nil, 0o600)
}

// remountImage tries to make what it sees of the image writable, in each way there is.
func remountImage(a *attempt) error {
	dir := a.imageDir()
	return first(
		func() error { return writeImage(a) },
		func() error {
			return errors.Join(unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND, ""), writeImage(a))
		},
		func() error {
			err := unix.MountSetattr(unix.AT_FDCWD, dir, unix.AT_RECURSIVE, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY})
			return errors.Join(err, writeImage(a))
		},
		func() error {
			for range 5 { // what lies below
				if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
					return err
				}
				if writeImage(a) == nil {
					return nil
				}
			}
			return errors.New("nothing writable below")
		},
	)
}

// firstsDescriptors writes into what process 1 has open for writing.
func firstsDescriptors(a *attempt) error {
	errs := []error{errors.New("no descriptor that can be written")}
	line := []byte(fmt.Sprintf("{\"escape\":%q}\n", a.Token))
	for fd := 3; fd < 32; fd++ {
		f, err := os.OpenFile(proc(a.first(), "fd/"+strconv.Itoa(fd)), os.O_WRONLY|os.O_APPEND, 0)
		if err == nil {
			_, err = f.Write(line)
			f.Close()
		}
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	return errors.Join(errs[0], errs[len(errs)-1], a.steal(a.first(), line))
}

// steal takes descriptors of another process.
func (a *attempt) steal(pid int, line []byte) error {
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return err
	}
	defer unix.Close(pidfd)
	for n := 3; n < 32; n++ {
		fd, err := unix.PidfdGetfd(pidfd, n, 0)
		if errors.Is(err, unix.EBADF) {
			continue
		}
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, line)
		unix.Close(fd)
		if err == nil {
			return nil
		}
	}
	return errors.New("none of its descriptors can be written")
}

// makeDevice leaves the host's memory device in a directory of the host.
func makeDevice(a *attempt) error {
	return unix.Mknod(filepath.Join(a.Dir, "escape-"+a.Token), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 1)))
}

// setuidBound starts a program of root's with the set-user-ID bit that lies in a bound
// directory: it leaves a file there if it is root.
func setuidBound(a *attempt) error {
	return run(a.SetuidBound, "rooted", a.Token, a.Dir)
}

// leaveKey leaves a key where every process of the user finds it.
func leaveKey(a *attempt) error {
	const userKeyring, everything = -4, 0x3f3f3f3f
	id, err := unix.AddKey("user", "escape-"+a.Token, []byte("x"), userKeyring)
	if err != nil {
		return err
	}
	return unix.KeyctlSetperm(id, everything)
}
