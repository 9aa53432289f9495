package sessions

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"penstock/internal/atomicfile"
	"penstock/internal/openat"
	"penstock/run/store"
)

// seen remembers which chains there have ever been, in so much memory and on so much disk
// however many there are: a Bloom filter in blocks of 32 bytes. It forgets none for a whole
// period, and all after two. What it has never seen it may take for seen: 0.3 % where
// there were 150 000 in a period, 6 % of 300 000. Registry.mu guards it.
type seen struct {
	paths   []string // the first is read, the other is its copy
	period  time.Duration
	began   time.Time // of the newer bits
	newer   []byte    // nil: none was ever added
	older   []byte
	unsaved bool // the files lack some of it
}

const (
	seenMagic = "penstock-chains 1\n"
	seenHead  = 32      // bytes: seenMagic, when the newer bits began, zeros
	seenBits  = 1 << 18 // bytes of each of the two
	seenBlock = 32
)

// openSeen reads what an earlier daemon remembered. An error says that it is forgotten.
func openSeen(paths []string, period time.Duration, now time.Time) (*seen, error) {
	s := &seen{paths: paths, period: period}
	file, err := store.ReadSmall(paths[0])
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil && (len(file) != seenHead+2*seenBits || !bytes.HasPrefix(file, []byte(seenMagic))) {
		err = fmt.Errorf("%s: %d bytes: not what was written there", paths[0], len(file))
	}
	if err != nil {
		return s, err
	}
	s.began = time.Unix(int64(binary.LittleEndian.Uint64(file[seenHead-8:])), 0)
	if s.began.After(now) { // a clock that was ahead would keep all for as long
		s.began = now
	}
	s.newer, s.older = file[seenHead:seenHead+seenBits], file[seenHead+seenBits:]
	return s, nil
}

// block is where a chain's block is, and mask which of its bits: one in each four bytes.
func (id chainID) block() (at int, mask [seenBlock]byte) {
	at = int(binary.LittleEndian.Uint16(id[:])) % (seenBits / seenBlock) * seenBlock
	for i := range seenBlock / 4 {
		bit := id[2+i] % 32
		mask[4*i+int(bit/8)] = 1 << (bit % 8)
	}
	return at, mask
}

func (s *seen) has(id chainID) bool {
	at, mask := id.block()
	return covers(s.newer, at, mask) || covers(s.older, at, mask)
}

func covers(bits []byte, at int, mask [seenBlock]byte) bool {
	if bits == nil {
		return false
	}
	for i, m := range mask {
		if bits[at+i]&m != m {
			return false
		}
	}
	return true
}

// add remembers a chain. Where that can't be written down it is remembered all the same,
// and written later.
func (s *seen) add(id chainID, now time.Time, flush atomicfile.Flusher) error {
	if s.newer == nil || now.Sub(s.began) > s.period {
		s.newer, s.older, s.began, s.unsaved = make([]byte, seenBits), s.newer, now, true
	}
	at, mask := id.block()
	for i, m := range mask {
		s.newer[at+i] |= m
	}
	if s.unsaved {
		return s.saveAll(flush)
	}
	if err := s.saveBlock(at, flush); err != nil {
		s.unsaved = true
		return fmt.Errorf("chains of sessions: %w", err)
	}
	return nil
}

// retry saves what could not be.
func (s *seen) retry() error {
	if !s.unsaved {
		return nil
	}
	return s.saveAll(nil)
}

// saveBlock writes within a page: a daemon that is killed has done it whole or not at all.
func (s *seen) saveBlock(at int, flush atomicfile.Flusher) error {
	for _, path := range s.paths {
		f, err := openat.Kind(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = f.WriteAt(s.newer[at:at+seenBlock], int64(seenHead+at))
		if err == nil && flush != nil {
			err = flush(f)
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

func (s *seen) saveAll(flush atomicfile.Flusher) error {
	file := make([]byte, seenHead+2*seenBits)
	copy(file, seenMagic)
	binary.LittleEndian.PutUint64(file[seenHead-8:], uint64(s.began.Unix()))
	copy(file[seenHead:], s.newer)
	copy(file[seenHead+seenBits:], s.older)
	for _, path := range s.paths {
		if err := atomicfile.Replace(path, file, flush); err != nil {
			return fmt.Errorf("chains of sessions: %w", err)
		}
	}
	s.unsaved = false
	return nil
}
