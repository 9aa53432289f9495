package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"penstock/cgroup"
	"penstock/internal/atomicfile"
	"penstock/internal/openat"
	"penstock/outcome"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// State of a run.
type State string

const (
	Waiting  State = "waiting" // for its start
	Running  State = "running"
	Ending   State = "ending"
	Finished State = "finished"
)

// Record is what the API shows and what stays on disk as run.json.
type Record struct {
	ID          string                `json:"id"`
	Object      string                `json:"object"` // "run"
	State       State                 `json:"state"`
	Cause       outcome.Cause         `json:"cause,omitempty"`
	Message     string                `json:"message,omitempty"`
	Client      string                `json:"client"`
	Backend     string                `json:"backend"`
	Model       string                `json:"model"`
	Session     string                `json:"session_id,omitempty"`
	CLISession  string                `json:"cli_session_id,omitempty"`
	Received    *time.Time            `json:"received_at,omitempty"` // its request, before it waited for a slot
	Created     time.Time             `json:"created_at"`
	Started     *time.Time            `json:"started_at,omitempty"`
	Answered    *time.Time            `json:"answered_at,omitempty"` // its clients were told, before it ended
	Exited      *time.Time            `json:"exited_at,omitempty"`
	Ended       *time.Time            `json:"ended_at,omitempty"`
	Limits      *specs.LinuxResources `json:"limits,omitempty"`
	Receipt     *cgroup.Receipt       `json:"receipt,omitempty"`
	EnforcedBy  cgroup.Enforced       `json:"enforced_by"`
	Exit        *int                  `json:"exit_code,omitempty"`
	Signal      string                `json:"signal,omitempty"`
	Finish      string                `json:"finish_reason,omitempty"`
	OutputBytes int64                 `json:"output_bytes"` // stdout and stderr
	Survived    int                   `json:"processes_after_leader,omitempty"`
	Metadata    json.RawMessage       `json:"metadata,omitempty"`
	Image       *Image                `json:"image,omitempty"` // nil is the host's file system
	// Resumed: its CLI was started with the session of an earlier turn.
	Resumed bool `json:"session_resumed,omitempty"`
	// Durable says that it outlives its daemon, and Adopted how many took it over.
	// SessionRestarted: its CLI did not know the session any more, and was started anew.
	// Warning is what became of its CLI after the answer, where that was no good end.
	SessionRestarted bool   `json:"session_restarted,omitempty"`
	Durable          bool   `json:"durable,omitempty"`
	Adopted          int    `json:"adopted,omitempty"`
	Warning          string `json:"warning,omitempty"`
}

// Image is what a run has for its file system.
type Image struct {
	Name   string `json:"name"`
	Digest string `json:"digest,omitempty"` // "" of a directory of the host's
}

// Save writes the record, and flushes its name, and those of what was written before it.
func (d *Dir) Save(r Record) error {
	return WriteJSON(d.storePaths(recordName), r, SmallMax, d.Flush)
}

// ErrNeverStarted is of a directory without a record and without a checkpoint:
// both are written before a process is started.
var ErrNeverStarted = errors.New("it was never started")

// Recalled is what an earlier daemon has kept of a run.
type Recalled struct {
	Record     Record
	Checkpoint *Checkpoint // nil of a run that isn't durable
	Rebuilt    bool        // the record is the checkpoint's
}

// Recall reads what an earlier daemon has kept of a run. A whole checkpoint gives
// the record that a torn one was; what can't be read at all becomes a lost run of
// that name, so that nothing on disk stays unseen. The error is ErrNeverStarted, one of
// the checkpoint's, or the host's (IsTransient): of a Rebuilt one it is of the record alone.
func (d *Dir) Recall() (Recalled, error) {
	cp, err := d.loadCheckpoint()
	record, recordErr := d.load()
	return recalled(filepath.Base(d.Path), cp, err, record, recordErr)
}

func recalled(id string, cp *Checkpoint, cpErr error, record Record, recordErr error) (Recalled, error) {
	found := Recalled{Record: record, Checkpoint: cp}
	switch {
	case recordErr == nil:
	case cp != nil && cp.Record.ID == id:
		found.Record, found.Rebuilt = cp.Record, true
		if IsTransient(recordErr) {
			return found, recordErr
		}
	case IsTransient(recordErr):
		return found, recordErr
	case errors.Is(recordErr, fs.ErrNotExist) && !IsTransient(cpErr):
		return found, ErrNeverStarted
	}
	return found, cpErr
}

// Record reads what the API shows of a run that has ended, and nothing else of it.
func (d *Dir) Record() (Record, error) {
	r, err := readRecord(d.StorePath(recordName))
	if err != nil || r.State != Finished || r.ID != filepath.Base(d.Path) {
		found, err := d.Recall()
		return found.Record, err
	}
	return r, nil
}

// load reads a record; where that fails it is one of a lost run.
func (d *Dir) load() (Record, error) {
	r, err := readRecord(d.StorePath(recordName))
	id := filepath.Base(d.Path)
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
	r = Record{ID: id, Object: Object, Created: at}
	r.markLost("the run's record can't be read: "+err.Error(), at)
	return r, err
}

func readRecord(path string) (r Record, err error) {
	data, err := ReadSmall(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return Record{}, err
	}
	return r, nil
}

const Object = "run"

// markLost finishes the record of a run that ended while no daemon watched.
func (r *Record) markLost(why string, at time.Time) {
	r.State, r.Cause, r.Message, r.Ended = Finished, outcome.Lost, why, &at
}

// FinishedAt orders records for pruning.
func (r *Record) FinishedAt() time.Time {
	if r.Ended != nil {
		return *r.Ended
	}
	return r.Created
}

// StartedAt is zero for a run that never started.
func (r *Record) StartedAt() time.Time {
	if r.Started == nil {
		return time.Time{}
	}
	return *r.Started
}

// Lifetime is how long it ran, to its answer where it hasn't ended; not ok where it has
// neither.
func (r *Record) Lifetime() (d time.Duration, ok bool) {
	until := r.Ended
	if until == nil {
		until = r.Answered
	}
	if r.Started == nil || until == nil {
		return 0, false
	}
	return until.Sub(*r.Started), true
}

// LogAttrs is what the log has of a run's end, at info of one that may end with no
// request left to be logged.
func (r Record) LogAttrs(o outcome.Outcome) []any {
	attrs := []any{"client", r.Client, "backend", r.Backend, "model", r.Model, "cause", string(r.Cause)}
	if r.Started != nil && r.Ended != nil {
		attrs = append(attrs, "seconds", r.Ended.Sub(*r.Started).Round(time.Millisecond).Seconds())
	}
	if r.Exit != nil {
		attrs = append(attrs, "exit_code", *r.Exit)
	}
	if r.Signal != "" {
		attrs = append(attrs, "signal", r.Signal)
	}
	if r.Warning != "" {
		attrs = append(attrs, "warning", r.Warning)
	}
	return append(attrs, "output_bytes", r.OutputBytes, "processes_after_leader", r.Survived,
		"spawn_seconds", o.Spawn.Seconds(), "teardown_seconds", o.Teardown.Seconds(), "leaked", o.Leaked, "receipt", *r.Receipt)
}

// SmallMax bounds what is read whole: records and sessions, in bytes.
const SmallMax = 1 << 20

// ReadSmall reads a regular file of at most SmallMax bytes.
func ReadSmall(path string) ([]byte, error) { return readUpTo(path, SmallMax) }

func readUpTo(path string, most int64) ([]byte, error) {
	f, _, err := openat.Regular(path)
	if errors.Is(err, fs.ErrPermission) && regainAccess(path) == nil {
		f, _, err = openat.Regular(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("read %s: more than %d bytes", path, most)
	}
	return data, err
}

// regainAccess gives the daemon back its own file. A run of its user can't write
// what Landlock protects, but it can take the permission bits away.
func regainAccess(path string) error {
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// withAccess does something with a file, once more where the daemon had to regain access.
func withAccess(path string, do func() error) error {
	err := do()
	if errors.Is(err, fs.ErrPermission) && regainAccess(path) == nil {
		err = do()
	}
	return err
}

// WriteJSON replaces files that are read by readUpTo with the same bound.
func WriteJSON(paths []string, v any, most int, flush atomicfile.Flusher) error {
	return writeJSON(paths, v, most, func(path string, data []byte) error { return atomicfile.Replace(path, data, flush) })
}

func writeJSON(paths []string, v any, most int, write func(path string, data []byte) error) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", paths[0], err)
	}
	if len(data) >= most {
		return fmt.Errorf("write %s: %d bytes: more than the %d that would be read", paths[0], len(data), most)
	}
	for _, p := range paths {
		if err := withAccess(p, func() error { return write(p, append(data, '\n')) }); err != nil {
			return err
		}
	}
	return nil
}
