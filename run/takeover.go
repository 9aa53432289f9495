package run

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/atomicfile"
)

// legacyCheckpointName is the checkpoint as the version before left it in a run's own
// directory, beside run.json and said. Runs could write them: they are read once,
// and Bounds hold for them as for every checkpoint.
const legacyCheckpointName = "will.json"

// takeOver fills a store that is new with what the copy has, or where there is
// none, with what the version before has left.
func (s *stateDir) takeOver() error {
	if len(s.store.places) > 1 {
		if _, err := os.Lstat(filepath.Join(s.store.places[1], formatName)); err == nil {
			return s.takeCopy(s.store.places[1])
		}
	}
	return s.takeLegacy()
}

// takeCopy is for the time after a reboot: none of its runs lives.
func (s *stateDir) takeCopy(from string) error {
	entries, err := os.ReadDir(filepath.Join(from, "runs"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || checkID(e.Name()) != nil {
			continue
		}
		old := &directory{path: filepath.Join(s.runs(), e.Name()), stored: []string{filepath.Join(from, "runs", e.Name())}}
		found, err := old.recall()
		if errors.Is(err, errNeverStarted) {
			continue
		}
		if found.checkpoint != nil {
			found.checkpoint.BeforeReboot = true
		}
		if err := s.takeRun(e.Name(), found.record, found.checkpoint); err != nil {
			return err
		}
	}
	if data, err := readUpTo(filepath.Join(from, prunedName), prunedFileMax); err == nil {
		if err := atomicfile.Replace(s.store.of(prunedName)[0], data, (*os.File).Sync); err != nil {
			return err
		}
	}
	return s.takeSessions(filepath.Join(from, "sessions"))
}

func (s *stateDir) takeLegacy() error {
	entries, err := os.ReadDir(s.runs())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || checkID(e.Name()) != nil {
			continue
		}
		if err := s.takeLegacyRun(e.Name()); err != nil {
			return err
		}
	}
	return s.takeSessions(s.sessions())
}

func (s *stateDir) takeLegacyRun(id string) error {
	path := filepath.Join(s.runs(), id)
	old := &directory{path: path, stored: []string{path}}
	record, err := old.load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // never started: recover removes it
	}
	var cp *checkpoint
	if data, err := readUpTo(old.file(legacyCheckpointName), checkpointMax); err == nil {
		if cp = new(checkpoint); json.Unmarshal(data, cp) != nil {
			cp = nil
		} else {
			cp.Kind = "" // that version told none: the run has written it
		}
	}
	if err := s.takeRun(id, record, cp); err != nil || cp == nil || !cp.Talks {
		return err
	}
	told, err := openStdinLog(old.file(stdinLogName), false)
	if err != nil {
		return nil // it is not adopted then: what its CLI was told is not known
	}
	defer told.close()
	return atomicfile.Replace(s.directory(id).storePath(stdinLogName), binary.LittleEndian.AppendUint64(nil, uint64(told.written)), (*os.File).Sync)
}

// forgetLegacy removes what takeLegacy has read; nothing reads it any more.
func (s *stateDir) forgetLegacy() error {
	var errs []error
	for _, pattern := range []string{filepath.Join("runs", "*", recordName), filepath.Join("runs", "*", legacyCheckpointName), filepath.Join("runs", "*", stdinLogName), filepath.Join("sessions", "*.json")} {
		names, err := fs.Glob(os.DirFS(s.dir), pattern)
		errs = append(errs, err)
		for _, name := range names {
			if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, unix.EISDIR) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// takeRun writes one run into the store.
func (s *stateDir) takeRun(id string, r Record, cp *checkpoint) error {
	d := s.directory(id)
	d.flush = (*os.File).Sync
	for _, p := range d.stored {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return err
		}
	}
	if cp != nil {
		cp.Record = r
		if err := d.saveCheckpoint(cp); err != nil {
			return err
		}
	}
	return d.save(r)
}

func (s *stateDir) takeSessions(from string) error {
	entries, err := os.ReadDir(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		data, err := readSmall(filepath.Join(from, e.Name()))
		if err != nil {
			continue // what can't be read is no session
		}
		for _, to := range s.store.of("sessions", e.Name()) {
			if err := atomicfile.Replace(to, data, (*os.File).Sync); err != nil {
				return err
			}
		}
	}
	return nil
}
