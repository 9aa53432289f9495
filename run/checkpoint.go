package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/internal/atomicfile"
	"penstock/outcome"
	"penstock/spawn"
	"penstock/spool"
)

// checkpointMax is far more than a checkpoint has: its largest parts are the record and
// the paths in the request.
const checkpointMax = 8 << 20

// checkpoint is the checkpoint of a durable run, what the next daemon must know of it:
// to see it to its end, to go on talking to its CLI, and to read its output again.
// It is kept beside the record as long as that is.
type checkpoint struct {
	// Request makes the machine. The prompt and the system text lie beside the
	// checkpoint while the CLI may still have to be told them.
	Request backend.Request `json:"request"`
	// Kind is the backend's, "" unknown: its machine is made of it where the
	// backend isn't configured any more, or is another one by now.
	Kind        string        `json:"kind,omitempty"`
	Texts       *textLength   `json:"words,omitempty"`
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
	// Final is how long the spool was at the run's end, in bytes; nil is unknown.
	Final *int64 `json:"final,omitempty"`
	// Fresh is the length of what the CLI is told where it has forgotten its session,
	// and Restart how far that has come.
	Fresh   *textLength `json:"fresh,omitempty"`
	Restart string      `json:"restart,omitempty"`
	// BeforeReboot says that none of its processes can live: it is of before a reboot.
	BeforeReboot bool `json:"past,omitempty"`
}

// textLength is in bytes.
type textLength struct {
	Prompt int64 `json:"prompt"`
	System int64 `json:"system"`
}

func newCheckpoint(s Spec, p plan) *checkpoint {
	cp := &checkpoint{
		Request: p.request, Kind: s.Backend.Kind(), Fingerprint: s.Fingerprint, Deadline: s.Deadline, Grace: s.Grace, Stall: s.Stall,
		OutputMax: s.OutputMax, LineMax: s.LineMax, SoftEnd: p.command.SoftEnd, Settle: p.command.Settle,
		Talks: p.command.Input == backend.Conversation, Session: p.session,
	}
	if !cp.Talks {
		cp.forgetPrompt()
	}
	return cp
}

func (cp *checkpoint) forgetPrompt() { cp.Request.Prompt, cp.Request.System, cp.Texts = "", "", nil }

// spec is the part of a Spec that matters after the start.
func (cp *checkpoint) spec(r Record, b backend.Backend) Spec {
	return Spec{
		ID: r.ID, Client: r.Client, Model: r.Model, Backend: b, Session: r.Session, Limits: r.Limits, Metadata: r.Metadata,
		Deadline: cp.Deadline, Grace: cp.Grace, Stall: cp.Stall, OutputMax: cp.OutputMax, LineMax: cp.LineMax,
		Durable: true, Fingerprint: cp.Fingerprint,
	}
}

// saveCheckpoint writes the words once, before the checkpoint that tells their length.
func (d *directory) saveCheckpoint(cp *checkpoint) error {
	if cp.Texts == nil && cp.Request.Prompt+cp.Request.System != "" {
		for name, text := range map[string]string{promptStoreName: cp.Request.Prompt, systemStoreName: cp.Request.System} {
			for _, p := range d.storePaths(name) {
				if err := atomicfile.Replace(p, []byte(text), d.flush); err != nil {
					return err
				}
			}
		}
		cp.Texts = &textLength{int64(len(cp.Request.Prompt)), int64(len(cp.Request.System))}
	}
	bare := *cp
	bare.Request.Prompt, bare.Request.System = "", ""
	return writeJSON(d.storePaths(checkpointName), bare, checkpointMax, d.flush)
}

// endRecord is why a durable run ended, kept from before its group goes, which tells
// that until then, to when its record says it.
type endRecord struct {
	Reason   outcome.Cause  `json:"reason,omitempty"`
	Receipt  cgroup.Receipt `json:"receipt"`
	Survived int            `json:"survived"`
}

// saveEnd is for a daemon that is killed, not for a power cut: nothing is synced.
func (d *directory) saveEnd(o outcome.Outcome) error {
	if d.flush == nil {
		return nil
	}
	return writeJSON(d.storePaths(endName), endRecord{o.Reason, o.Receipt, o.Survived}, smallMax, nil)
}

// loadEnd is what saveEnd kept. The exit status isn't: whether the output is
// whole is not known any more.
func (d *directory) loadEnd() (o outcome.Outcome, err error) {
	o.Exit.Code = -1
	data, err := readSmall(d.storePath(endName))
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	var n endRecord
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", d.storePath(endName), err)
	}
	o.Reason, o.Receipt, o.Survived = n.Reason, n.Receipt, n.Survived
	return o, nil
}

// loadCheckpoint is nil for a run that isn't durable. The words are left where they are.
func (d *directory) loadCheckpoint() (*checkpoint, error) {
	data, err := readUpTo(d.storePath(checkpointName), checkpointMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	cp := new(checkpoint)
	if err == nil {
		err = json.Unmarshal(data, cp)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.storePath(checkpointName), err)
	}
	return cp, nil
}

// loadTexts gives a checkpoint what its CLI may still have to be told.
func (d *directory) loadTexts(cp *checkpoint) error {
	if cp.Texts == nil {
		return nil
	}
	for _, one := range []struct {
		name string
		long int64
		to   *string
	}{{promptStoreName, cp.Texts.Prompt, &cp.Request.Prompt}, {systemStoreName, cp.Texts.System, &cp.Request.System}} {
		data, err := readUpTo(d.storePath(one.name), one.long)
		if err == nil && int64(len(data)) != one.long {
			err = fmt.Errorf("%s: %d bytes instead of %d", d.storePath(one.name), len(data), one.long)
		}
		if err != nil {
			return err
		}
		*one.to = string(data)
	}
	return nil
}

// Bounds are the widest figures that a run of an earlier daemon may have; but for
// Grace 0 is no bound.
type Bounds struct {
	Limits             *specs.LinuxResources // of memory and pids
	Timeout            time.Duration         // from its start
	Grace, Stall       time.Duration
	OutputMax, LineMax int64
}

// apply narrows a run's figures to the bounds: a daemon with a narrower
// configuration, or one that could not keep runs from its files, may have left
// them.
func (b Bounds) apply(r *Record, cp *checkpoint, now time.Time) {
	cp.OutputMax, cp.LineMax = clamp(cp.OutputMax, b.OutputMax), clamp(cp.LineMax, b.LineMax)
	cp.Stall = clamp(cp.Stall, b.Stall)
	cp.Grace = min(max(cp.Grace, 0), b.Grace)
	if r.Started != nil && r.Started.After(now) {
		r.Started = &now
	}
	if b.Timeout > 0 {
		last := now
		if r.Started != nil {
			last = *r.Started
		}
		last = last.Add(b.Timeout)
		if cp.Deadline.IsZero() || cp.Deadline.After(last) {
			cp.Deadline = last
		}
	}
	if b.Limits == nil {
		return
	}
	if m := b.Limits.Memory; m != nil && m.Limit != nil {
		r.Limits = withMemory(r.Limits, clamp(memoryOf(r.Limits), *m.Limit))
	}
	if p := b.Limits.Pids; p != nil && p.Limit != nil {
		r.Limits = withPids(r.Limits, clamp(pidsOf(r.Limits), *p.Limit))
	}
}

// clamp is v, or most where v is none or more.
func clamp[T int64 | time.Duration](v, most T) T {
	if most > 0 && (v <= 0 || v > most) {
		return most
	}
	return v
}

// Leftovers lists the durable runs that an earlier daemon has not seen to their end,
// for spawn.Options.Keep. It fails where that can't be told of one: its processes
// would be ended.
func (l *Lock) Leftovers(bounds func(backend, kind string) Bounds) ([]spawn.Leftover, error) {
	entries, err := os.ReadDir(l.state.store.runs())
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	var out []spawn.Leftover
	for _, e := range entries {
		if checkID(e.Name()) != nil {
			continue
		}
		found, err := l.state.directory(e.Name()).recall()
		if isTransient(err) {
			return nil, fmt.Errorf("runs: %s: whether it lives can't be told: %w", e.Name(), err)
		}
		r, cp := found.record, found.checkpoint
		if cp == nil || cp.BeforeReboot || r.State == Finished {
			continue // not durable, or over
		}
		bounds(r.Backend, cp.Kind).apply(&r, cp, time.Now())
		out = append(out, spawn.Leftover{ID: r.ID, Limits: r.Limits, Leader: cp.Leader})
	}
	return out, nil
}

// isTransient tells an error of the host's from one of the file's.
func isTransient(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// newReplay is what reads the output of a run again.
func newReplay(b backend.Backend, cp *checkpoint) *spool.Replay {
	request := cp.Request
	request.Prompt, request.System = "", ""
	p := &spool.Replay{Backend: b, Request: request, LineMax: cp.LineMax, OutputMax: cp.OutputMax}
	if cp.Restart == restartDone {
		p.Notice = restartedNotice
	}
	return p
}
