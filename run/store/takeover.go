package store

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
func (s *StateDir) takeOver() error {
	if len(s.Store.places) > 1 {
		if _, err := os.Lstat(filepath.Join(s.Store.places[1], formatName)); err == nil {
			return s.takeCopy(s.Store.places[1])
		}
	}
	return s.takeLegacy()
}

// takeCopy is for the time after a reboot: none of its runs lives.
func (s *StateDir) takeCopy(from string) error {
	entries, err := os.ReadDir(filepath.Join(from, "runs"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || CheckID(e.Name()) != nil {
			continue
		}
		old := &Dir{Path: filepath.Join(s.Runs(), e.Name()), stored: []string{filepath.Join(from, "runs", e.Name())}}
		found, err := old.Recall()
		if errors.Is(err, ErrNeverStarted) {
			continue
		}
		if found.Checkpoint != nil {
			found.Checkpoint.BeforeReboot = true
		}
		if err := s.takeRun(e.Name(), found.Record, found.Checkpoint); err != nil {
			return err
		}
		if err := s.takeAsked(old, found.Checkpoint); err != nil {
			return err
		}
	}
	for name, most := range map[string]int64{PrunedName: prunedFileMax, ChainsName: SmallMax} {
		data, err := readUpTo(filepath.Join(from, name), most)
		if err != nil {
			continue
		}
		if err := atomicfile.Replace(s.Store.Of(name)[0], data, (*os.File).Sync); err != nil {
			return err
		}
	}
	err = eachName(filepath.Join(from, discardName), func(id string) {
		if d := s.Run(id); d.Exists() { // what can't be noted stays as long as any output
			_ = d.MarkDiscard()
		}
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.takeSessions(filepath.Join(from, "sessions"))
}

func (s *StateDir) takeLegacy() error {
	entries, err := os.ReadDir(s.Runs())
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.IsDir() || CheckID(e.Name()) != nil {
			continue
		}
		if err := s.takeLegacyRun(e.Name()); err != nil {
			return err
		}
	}
	return s.takeSessions(s.Sessions())
}

func (s *StateDir) takeLegacyRun(id string) error {
	path := filepath.Join(s.Runs(), id)
	old := &Dir{Path: path, stored: []string{path}}
	record, err := old.load()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // never started: recover removes it
	}
	var cp *Checkpoint
	if data, err := readUpTo(old.File(legacyCheckpointName), checkpointMax); err == nil {
		if cp = new(Checkpoint); json.Unmarshal(data, cp) != nil {
			cp = nil
		} else {
			cp.Kind = "" // that version told none: the run has written it
		}
	}
	if err := s.takeRun(id, record, cp); err != nil || cp == nil || !cp.Talks {
		return err
	}
	log, err := OpenStdinLog(old.File(StdinLogName), false)
	if err != nil {
		return nil // it is not adopted then: what its CLI was told is not known
	}
	defer log.Close()
	return atomicfile.Replace(s.Run(id).StorePath(StdinLogName), binary.LittleEndian.AppendUint64(nil, uint64(log.Written)), (*os.File).Sync)
}

// forgetLegacy removes what takeLegacy has read; nothing reads it any more.
func (s *StateDir) forgetLegacy() error {
	var errs []error
	for _, pattern := range []string{filepath.Join("runs", "*", recordName), filepath.Join("runs", "*", legacyCheckpointName), filepath.Join("runs", "*", StdinLogName), filepath.Join("sessions", "*.json")} {
		names, err := fs.Glob(os.DirFS(s.Path), pattern)
		errs = append(errs, err)
		for _, name := range names {
			if err := os.Remove(filepath.Join(s.Path, name)); err != nil && !errors.Is(err, unix.EISDIR) {
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// takeRun writes one run into the store.
func (s *StateDir) takeRun(id string, r Record, cp *Checkpoint) error {
	d := s.Run(id)
	d.Flush = (*os.File).Sync
	for _, p := range d.stored {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return err
		}
	}
	if cp != nil {
		cp.Record = r
		if err := d.SaveCheckpoint(cp); err != nil {
			return err
		}
	}
	return d.Save(r)
}

// takeAsked copies what a run's client asked; what can't be read is lost.
func (s *StateDir) takeAsked(old *Dir, cp *Checkpoint) error {
	if cp == nil || cp.Asked == 0 {
		return nil
	}
	data, err := old.LoadAsked()
	if err != nil {
		return nil
	}
	d := s.Run(filepath.Base(old.Path))
	d.Flush = (*os.File).Sync
	return d.SaveAsked(data)
}

func (s *StateDir) takeSessions(from string) error {
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
		data, err := ReadSmall(filepath.Join(from, e.Name()))
		if err != nil {
			continue // what can't be read is no session
		}
		for _, to := range s.Store.Of("sessions", e.Name()) {
			if err := atomicfile.Replace(to, data, (*os.File).Sync); err != nil {
				return err
			}
		}
	}
	return nil
}
