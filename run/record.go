package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"penstock/outcome"
)

func (d *directory) save(r Record) error {
	return writeJSON(d.storePaths(recordName), r, smallMax, d.flush)
}

// errNeverStarted is of a directory without a record and without a checkpoint:
// both are written before a process is started.
var errNeverStarted = errors.New("it was never started")

// recalled is what an earlier daemon has kept of a run.
type recalled struct {
	record     Record
	checkpoint *checkpoint // nil of a run that isn't durable
	rebuilt    bool        // the record is the checkpoint's
}

// recall reads what an earlier daemon has kept of a run. A whole checkpoint gives
// the record that a torn one was; what can't be read at all becomes a lost run of
// that name, so that nothing on disk stays unseen. The error is errNeverStarted,
// or one of the checkpoint's.
func (d *directory) recall() (found recalled, err error) {
	var recordErr error
	found.checkpoint, err = d.loadCheckpoint()
	found.record, recordErr = d.load()
	switch {
	case recordErr == nil:
	case found.checkpoint != nil && found.checkpoint.Record.ID == filepath.Base(d.path):
		found.record, found.rebuilt = found.checkpoint.Record, true
	case errors.Is(recordErr, fs.ErrNotExist) && !isTransient(err):
		return found, errNeverStarted
	}
	return found, err
}

// load reads a record; where that fails it is one of a lost run.
func (d *directory) load() (Record, error) {
	r, err := readRecord(d.storePath(recordName))
	id := filepath.Base(d.path)
	if err == nil && r.ID != id {
		err = fmt.Errorf("it is of run %q", r.ID)
	}
	if err == nil {
		return r, nil
	}
	at := time.Now()
	if info, statErr := os.Stat(d.stored[0]); statErr == nil {
		at = info.ModTime()
	}
	r = Record{ID: id, Object: object, Created: at}
	r.markLost("the run's record can't be read: "+err.Error(), at)
	return r, err
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

// markLost finishes the record of a run that ended while no daemon watched.
func (r *Record) markLost(why string, at time.Time) {
	r.State, r.Cause, r.Message, r.Ended = Finished, outcome.Lost, why, &at
}

// finishedAt orders records for pruning.
func (r *Record) finishedAt() time.Time {
	if r.Ended != nil {
		return *r.Ended
	}
	return r.Created
}
