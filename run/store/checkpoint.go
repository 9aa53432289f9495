package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/internal/atomicfile"
	"penstock/outcome"
	"penstock/spawn"
)

// checkpointMax is far more than a checkpoint has: its largest parts are the record and
// the paths in the request.
const checkpointMax = 8 << 20

// Checkpoint is the checkpoint of a durable run, what the next daemon must know of it:
// to see it to its end, to go on talking to its CLI, and to read its output again.
// It is kept beside the record as long as that is.
type Checkpoint struct {
	// Request makes the machine. The prompt with its attachments, and the system text, lie
	// beside the checkpoint while the CLI may still have to be told them.
	Request backend.Request `json:"request"`
	// Kind is the backend's, "" unknown: its machine is made of it where the
	// backend isn't configured any more, or is another one by now.
	Kind        string        `json:"kind,omitempty"`
	Texts       *TextLength   `json:"words,omitempty"`
	Record      Record        `json:"record,omitzero"` // as of before the start, for one that is torn
	Fingerprint []byte        `json:"fingerprint,omitempty"`
	Leader      int           `json:"leader,omitempty"` // pid; 0 is unknown, or that it has ended
	Deadline    time.Time     `json:"deadline,omitzero"`
	Grace       time.Duration `json:"grace"`
	Stall       time.Duration `json:"stall"`
	OutputMax   int64         `json:"output_max"`
	LineMax     int64         `json:"line_max"`
	SoftEnd     bool          `json:"soft_end,omitempty"`
	Settle      bool          `json:"settle,omitempty"`
	Talks       bool          `json:"talks,omitempty"` // backend.Conversation
	Session     Session       `json:"session,omitzero"`
	// Spool and Stderr are the files' inodes, 0 unknown: what lies there later
	// under their names may be others.
	Spool  uint64 `json:"spool,omitempty"`
	Stderr uint64 `json:"stderr,omitempty"`
	Asked  int64  `json:"asked,omitempty"` // Dir.Asked
	// Discarded says that the output of the run, which has ended, is not kept.
	Discarded bool `json:"discarded,omitempty"`
	// Final is how long the spool was at the run's end, in bytes; nil is unknown.
	Final *int64 `json:"final,omitempty"`
	// Silent says that the run has no events: its CLI did nothing.
	Silent bool `json:"silent,omitempty"`
	// Tampered says that the output was not what the run has written, at its end.
	Tampered bool `json:"tampered,omitempty"`
	// Fresh is the length of what the CLI is told where it has forgotten its session,
	// and Restart how far that has come.
	Fresh   *TextLength `json:"fresh,omitempty"`
	Restart string      `json:"restart,omitempty"`
	// BeforeReboot says that none of its processes can live: it is of before a reboot.
	BeforeReboot bool `json:"past,omitempty"`
}

// ForgetPrompt is for a CLI that has been told.
func (cp *Checkpoint) ForgetPrompt() {
	cp.setTexts(&PromptText{})
	cp.Texts = nil
}

// SaveCheckpoint writes the words once, before the checkpoint that tells their length.
// Their names are on the disk when the record's is (Save), or those of the directory are
// (FlushStored): only of what is said after either of them a loss of power leaves the old.
func (d *Dir) SaveCheckpoint(cp *Checkpoint) error {
	if texts := cp.texts(); cp.Texts == nil && !texts.isEmpty() {
		if err := d.saveTexts(promptStoreName, systemStoreName, texts); err != nil {
			return err
		}
		cp.Texts = LengthOf(texts)
	}
	bare := *cp
	bare.setTexts(&PromptText{})
	return writeJSON(d.storePaths(checkpointName), bare, checkpointMax, func(path string, data []byte) error { return atomicfile.Put(path, data, d.Flush) })
}

// endRecord is why a durable run ended, kept from before its group goes, which tells
// that until then, to when its record says it.
type endRecord struct {
	Reason   outcome.Cause  `json:"reason,omitempty"`
	Receipt  cgroup.Receipt `json:"receipt"`
	Survived int            `json:"survived"`
}

// SaveEnd is for a daemon that is killed, not for a power cut: nothing is synced.
func (d *Dir) SaveEnd(o outcome.Outcome) error {
	if d.Flush == nil {
		return nil
	}
	return WriteJSON(d.storePaths(endName), endRecord{o.Reason, o.Receipt, o.Survived}, SmallMax, nil)
}

// LoadEnd is what SaveEnd kept. The exit status isn't: whether the output is
// whole is not known any more.
func (d *Dir) LoadEnd() (o outcome.Outcome, err error) {
	o.Exit.Code = -1
	if d.IsIndexed() {
		return o, nil
	}
	data, err := ReadSmall(d.StorePath(endName))
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	var n endRecord
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", d.StorePath(endName), err)
	}
	o.Reason, o.Receipt, o.Survived = n.Reason, n.Receipt, n.Survived
	return o, nil
}

// loadCheckpoint is nil for a run that isn't durable. The words are left where they are.
func (d *Dir) loadCheckpoint() (*Checkpoint, error) {
	data, err := readUpTo(d.StorePath(checkpointName), checkpointMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	cp := new(Checkpoint)
	if err == nil {
		err = json.Unmarshal(data, cp)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.StorePath(checkpointName), err)
	}
	return cp, nil
}

// Leftovers lists the durable runs that an earlier daemon has not seen to their end,
// for spawn.Options.Keep. It fails where that can't be told of one: its processes
// would be ended.
func (l *Lock) Leftovers(bounds func(backend, kind string) Bounds) ([]spawn.Leftover, error) {
	var out []spawn.Leftover
	for _, id := range l.State.Survey.Unsettled {
		found, err := l.State.Run(id).Recall()
		if IsTransient(err) && !found.Rebuilt {
			return nil, fmt.Errorf("runs: %s: whether it lives can't be told: %w", id, err)
		}
		r, cp := found.Record, found.Checkpoint
		if cp == nil || cp.BeforeReboot || r.State == Finished {
			continue // not durable, or over
		}
		bounds(r.Backend, cp.Kind).Apply(&r, cp, time.Now())
		out = append(out, spawn.Leftover{ID: r.ID, Limits: r.Limits, Leader: cp.Leader, InImage: r.Image != nil})
	}
	return out, nil
}

// IsTransient tells an error of the host's from one of the file's.
func IsTransient(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Stages of a restart, as a checkpoint has them.
const (
	RestartDue  = "due"  // the first process is gone, the second was not tried
	RestartDone = "done" // the second one is, or was, about to be started
)

// RemoveOutputs makes room for those of another process.
func (d *Dir) RemoveOutputs() error {
	for _, name := range []string{SpoolName, StderrName} {
		if err := os.Remove(d.File(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
