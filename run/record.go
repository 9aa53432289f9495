package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"penstock/spawn"
)

// writeJSON replaces a file whole or not at all.
func writeJSON(path string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(f.Name()))
	}
	return nil
}

func (d *directory) save(r Record) error { return writeJSON(d.file(recordName), r) }

// load reads a record of an earlier daemon; what can't be read becomes a lost
// run of that name, so that nothing on disk stays unseen.
func (d *directory) load() Record {
	r, err := readRecord(d.file(recordName))
	id := filepath.Base(d.path)
	if err == nil && r.ID != id {
		err = fmt.Errorf("it is of run %q", r.ID)
	}
	if err == nil {
		return r
	}
	at := time.Now()
	if info, statErr := os.Stat(d.path); statErr == nil {
		at = info.ModTime()
	}
	r = Record{ID: id, Object: object, Created: at}
	r.lose("the run's record can't be read: "+err.Error(), at)
	return r
}

func readRecord(path string) (r Record, err error) {
	data, err := readSmall(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, err
	}
	return r, nil
}

const object = "run"

// lose finishes the record of a run that ended while nobody watched.
func (r *Record) lose(why string, at time.Time) {
	r.State, r.Cause, r.Message, r.Ended = Finished, spawn.Lost, why, &at
}

// finishedAt orders records for pruning.
func (r *Record) finishedAt() time.Time {
	if r.Ended != nil {
		return *r.Ended
	}
	return r.Created
}
