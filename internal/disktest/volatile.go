package disktest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What the kernel's network block device wants to hear (linux/nbd.h).
const (
	nbdSetSock       = 0xab00
	nbdSetBlockSize  = 0xab01
	nbdDoIt          = 0xab03
	nbdClearSock     = 0xab04
	nbdSetBlocks     = 0xab07
	nbdDisconnect    = 0xab08
	nbdSetFlags      = 0xab0a
	nbdFlags         = 1 | 1<<2 | 1<<3 // has flags, takes FLUSH, takes FUA
	nbdRequest       = 0x25609513
	nbdReply         = 0x67446698
	nbdRead          = 0
	nbdWrite         = 1
	nbdDisc          = 2
	nbdFlush         = 3
	nbdForced        = 1 << 16 // FUA, beside the command
	nbdDevices       = 16
	syslogReadAll    = 3 // of syslog(2)
	volatileSize     = 64 << 20
	volatileBlock    = 4096
	detachedWithin   = 30 * time.Second
	volatileFileName = "nbd0"
)

// block is what a device writes whole or not at all.
type block = [volatileBlock]byte

// image is what is on a device. Blocks are never changed once they are in it.
type image struct {
	mu       sync.Mutex
	stable   map[uint64]*block
	volatile map[uint64]*block // written, not flushed yet
}

func newImage() *image { return &image{stable: map[uint64]*block{}, volatile: map[uint64]*block{}} }

func (i *image) read(from uint64, p []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := 0; n < len(p); n += volatileBlock {
		b := i.volatile[from+uint64(n)]
		if b == nil {
			b = i.stable[from+uint64(n)]
		}
		if b == nil {
			clear(p[n : n+volatileBlock])
			continue
		}
		copy(p[n:], b[:])
	}
}

func (i *image) write(from uint64, p []byte, forced bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for n := 0; n < len(p); n += volatileBlock {
		b := new(block)
		copy(b[:], p[n:])
		at := from + uint64(n)
		if forced {
			delete(i.volatile, at)
			i.stable[at] = b
			continue
		}
		i.volatile[at] = b
	}
}

func (i *image) flush() {
	i.mu.Lock()
	defer i.mu.Unlock()
	maps.Copy(i.stable, i.volatile)
	clear(i.volatile)
}

// cut is what a power cut at this moment leaves: all that was flushed, and of
// the rest, block by block, what had got there by chance.
func (i *image) cut(r *rand.Rand) (left *image, forgotten int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	left = newImage()
	maps.Copy(left.stable, i.stable)
	share := r.IntN(3) // of two: none, about half, all
	for at, b := range i.volatile {
		if r.IntN(2) < share {
			left.stable[at] = b
			continue
		}
		forgotten++
	}
	return left, forgotten
}

// Volatile is a mounted ext4 file system on a device with a write cache.
type Volatile struct {
	Dir    string
	tb     testing.TB
	dev    string
	image  *image
	number int // of the device in use
	used   chan error
}

// NewVolatile mounts one until the test's end, and skips where the machine is no lab.
func NewVolatile(tb testing.TB) *Volatile {
	tb.Helper()
	if os.Getenv("PENSTOCK_LAB") != "1" {
		tb.Skip("this machine is no lab (PENSTOCK_LAB=1): it must not have block devices of a test")
	}
	dev, err := devices("nbd", volatileFileName)
	if err != nil {
		tb.Fatalf("this machine has no network block device: %v", err)
	}
	v := &Volatile{Dir: tb.TempDir(), tb: tb, dev: dev, image: newImage(), number: -1}
	v.attach()
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", "-b", "4096", v.file()).CombinedOutput(); err != nil {
		tb.Fatalf("mkfs.ext4: %v %s", err, out)
	}
	v.image.flush()
	v.mount()
	tb.Cleanup(func() {
		_ = unix.Unmount(v.Dir, unix.MNT_DETACH)
		v.detach()
	})
	return v
}

// Cut is a power cut that is not carried out yet: After is called when nothing
// uses the file system any more, and shows what was left at the moment of Cut.
func (v *Volatile) Cut(r *rand.Rand) (after func(), forgotten int) {
	left, forgotten := v.image.cut(r)
	return func() {
		v.tb.Helper()
		// The device may still write: to an image that is thrown away.
		if err := unix.Unmount(v.Dir, 0); err != nil {
			v.tb.Fatalf("unmount %s: %v", v.Dir, err)
		}
		v.detach()
		v.image = left
		v.attach()
		v.mount()
	}, forgotten
}

func (v *Volatile) file() string { return filepath.Join(v.dev, fmt.Sprint("nbd", v.number)) }

func (v *Volatile) mount() {
	v.tb.Helper()
	if err := unix.Mount(v.file(), v.Dir, "ext4", 0, ""); err != nil {
		log := make([]byte, 16<<10)
		n, _ := unix.Klogctl(syslogReadAll, log)
		v.tb.Fatalf("mount %s: %v; the kernel's last words:\n%s", v.file(), err, log[:max(n, 0)])
	}
}

// attach puts the image behind the next device and serves it. One that the kernel
// doesn't take, or has not let go of yet, is passed over.
func (v *Volatile) attach() {
	v.tb.Helper()
	var errs []error
	for range nbdDevices {
		v.number = (v.number + 1) % nbdDevices
		err := v.attachOne()
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	v.tb.Fatalf("no network block device can be used: %v", errors.Join(errs...))
}

func (v *Volatile) attachOne() error {
	device, err := os.OpenFile(v.file(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return errors.Join(err, device.Close())
	}
	server := os.NewFile(uintptr(pair[1]), "nbd")
	for _, set := range []struct {
		request uint
		value   int
	}{{nbdSetBlockSize, volatileBlock}, {nbdSetBlocks, volatileSize / volatileBlock}, {nbdSetFlags, nbdFlags}, {nbdSetSock, pair[0]}} {
		if err := unix.IoctlSetInt(int(device.Fd()), set.request, set.value); err != nil {
			return errors.Join(fmt.Errorf("%s: ioctl %#x: %w", v.file(), set.request, err), unix.Close(pair[0]), server.Close(), device.Close())
		}
	}
	used, served := make(chan error, 1), make(chan error, 1)
	go func() { served <- serve(v.image, server) }()
	go func() {
		err := unix.IoctlSetInt(int(device.Fd()), nbdDoIt, 0)
		_ = unix.IoctlSetInt(int(device.Fd()), nbdClearSock, 0)
		unix.Close(pair[0])
		device.Close()
		<-served
		used <- err
	}()
	// Its size is there when the kernel has taken the connection.
	for end := time.Now().Add(detachedWithin); ; time.Sleep(5 * time.Millisecond) {
		text, _ := os.ReadFile(fmt.Sprintf("/sys/block/nbd%d/size", v.number))
		if string(text) == fmt.Sprintln(volatileSize/512) {
			v.used = used
			return nil
		}
		select {
		case err := <-used:
			return fmt.Errorf("%s: not taken: %w", v.file(), err)
		default:
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s: size %q", v.file(), text)
		}
	}
}

func (v *Volatile) detach() {
	v.tb.Helper()
	device, err := os.OpenFile(v.file(), os.O_RDWR, 0)
	if err != nil {
		v.tb.Error(err)
		return
	}
	err = unix.IoctlSetInt(int(device.Fd()), nbdDisconnect, 0)
	device.Close()
	if err != nil {
		v.tb.Errorf("%s: disconnect: %v", v.file(), err)
	}
	select {
	case <-v.used:
	case <-time.After(detachedWithin):
		v.tb.Errorf("%s is still in use", v.file())
	}
}

// serve answers the kernel until it disconnects.
func serve(i *image, f *os.File) error {
	defer f.Close()
	var q struct {
		Magic, Command uint32
		Handle, From   uint64
		Length         uint32
	}
	for {
		if err := binary.Read(f, binary.BigEndian, &q); err != nil {
			return err
		}
		if q.Magic != nbdRequest {
			return fmt.Errorf("nbd: magic %#x", q.Magic)
		}
		reply := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, nbdReply<<32), q.Handle)
		switch q.Command &^ nbdForced {
		case nbdRead:
			data := make([]byte, q.Length)
			i.read(q.From, data)
			reply = append(reply, data...)
		case nbdWrite:
			data := make([]byte, q.Length)
			if _, err := io.ReadFull(f, data); err != nil {
				return err
			}
			i.write(q.From, data, q.Command&nbdForced != 0)
		case nbdFlush:
			i.flush()
		case nbdDisc:
			return nil
		}
		if _, err := f.Write(reply); err != nil {
			return err
		}
	}
}
