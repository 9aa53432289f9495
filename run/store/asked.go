package store

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"penstock/internal/atomicfile"
)

// AskedMax is how long what a client asked may be, in bytes.
const AskedMax = 9 << 20

// askedName is the file of it in a durable run's place in the store; runs without such a
// place have theirs in a directory of this name, by their ids.
const askedName = "asked"

// askedHead is the file's first line, the CRC-32C of the rest.
const askedHead = "%08x\n"

const askedHeadLen = 9

func (d *Dir) askedPaths() []string {
	if d.IsIndexed() {
		return []string{filepath.Join(d.state.askedDir(), filepath.Base(d.Path))}
	}
	return d.storePaths(askedName)
}

func (s *StateDir) askedDir() string { return s.Store.Of(askedName)[0] }

// SaveAsked keeps what a client asked of the run, opaque here, as long as its record. Of a
// durable run the name is flushed as those of SaveCheckpoint.
func (d *Dir) SaveAsked(data []byte) error {
	file := append(fmt.Appendf(make([]byte, 0, askedHeadLen+len(data)), askedHead, crc32.Checksum(data, castagnoli())), data...)
	for _, p := range d.askedPaths() {
		if err := withAccess(p, func() error { return atomicfile.Put(p, file, d.Flush) }); err != nil {
			return orRemoved(err)
		}
	}
	d.Asked = int64(len(data))
	return nil
}

// LoadAsked is what SaveAsked kept; fs.ErrNotExist is that there is none.
func (d *Dir) LoadAsked() ([]byte, error) {
	path := d.askedPaths()[0]
	file, err := readUpTo(path, askedHeadLen+AskedMax)
	if err != nil {
		return nil, err
	}
	if len(file) >= askedHeadLen {
		data := file[askedHeadLen:]
		if string(file[:askedHeadLen]) == fmt.Sprintf(askedHead, crc32.Checksum(data, castagnoli())) {
			return data, nil
		}
	}
	return nil, fmt.Errorf("%s: %d bytes: not what was written there", path, len(file))
}

// RemoveAsked is for a run that goes, or of which no more than the record stays.
func (d *Dir) RemoveAsked() error {
	var errs []error
	for _, p := range d.askedPaths() {
		if err := withAccess(p, func() error { return os.Remove(p) }); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// SweepAsked removes what is there for runs without a place in the store that known doesn't
// know.
func (s *StateDir) SweepAsked(known func(id string) bool) (removed int, err error) {
	var errs []error
	err = eachName(s.askedDir(), func(id string) {
		if known(id) {
			return
		}
		if err := os.Remove(filepath.Join(s.askedDir(), id)); err != nil {
			errs = append(errs, err)
			return
		}
		removed++
	})
	return removed, errors.Join(append(errs, err)...)
}

// eachName gives the names in a directory, however many there are.
func eachName(dir string, each func(name string)) error {
	at, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer at.Close()
	for err == nil {
		var some []string
		some, err = at.Readdirnames(namesAtOnce)
		for _, name := range some {
			each(name)
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err
}
