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
)

// willMax is far more than a checkpoint has: its largest parts are the record and
// the paths in the request.
const willMax = 8 << 20

// will is the checkpoint of a durable run, what the next daemon must know of it:
// to see it to its end, to go on talking to its CLI, and to read its output again.
// It is kept beside the record as long as that is.
type will struct {
	// Request makes the machine. The prompt and the system text lie beside the
	// checkpoint while the CLI may still have to be told them.
	Request backend.Request `json:"request"`
	// Kind is the backend's, "" unknown: its machine is made of it where the
	// backend isn't configured any more, or is another one by now.
	Kind        string        `json:"kind,omitempty"`
	Words       *wordsLength  `json:"words,omitempty"`
	Record      Record        `json:"record,omitzero"` // as of before the birth, for one that is torn
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
	Fresh   *wordsLength `json:"fresh,omitempty"`
	Restart string       `json:"restart,omitempty"`
	// Past says that none of its processes can live: it is of before a reboot.
	Past bool `json:"past,omitempty"`
}

// wordsLength is in bytes.
type wordsLength struct {
	Prompt int64 `json:"prompt"`
	System int64 `json:"system"`
}

func newWill(s Spec, p plan) *will {
	w := &will{
		Request: p.request, Kind: s.Backend.Kind(), Fingerprint: s.Fingerprint, Deadline: s.Deadline, Grace: s.Grace, Stall: s.Stall,
		OutputMax: s.OutputMax, LineMax: s.LineMax, SoftEnd: p.command.SoftEnd, Settle: p.command.Settle,
		Talks: p.command.Input == backend.Conversation, Session: p.session,
	}
	if !w.Talks {
		w.forgetPrompt()
	}
	return w
}

func (w *will) forgetPrompt() { w.Request.Prompt, w.Request.System, w.Words = "", "", nil }

// spec is the part of a Spec that matters after the birth.
func (w *will) spec(r Record, b backend.Backend) Spec {
	return Spec{
		ID: r.ID, Client: r.Client, Model: r.Model, Backend: b, Session: r.Session, Limits: r.Limits, Metadata: r.Metadata,
		Deadline: w.Deadline, Grace: w.Grace, Stall: w.Stall, OutputMax: w.OutputMax, LineMax: w.LineMax,
		Durable: true, Fingerprint: w.Fingerprint,
	}
}

// saveWill writes the words once, before the checkpoint that tells their length.
func (d *directory) saveWill(w *will) error {
	if w.Words == nil && w.Request.Prompt+w.Request.System != "" {
		for name, text := range map[string]string{wordsName: w.Request.Prompt, systemName: w.Request.System} {
			for _, p := range d.inStores(name) {
				if err := atomicfile.Replace(p, []byte(text), d.flush); err != nil {
					return err
				}
			}
		}
		w.Words = &wordsLength{int64(len(w.Request.Prompt)), int64(len(w.Request.System))}
	}
	bare := *w
	bare.Request.Prompt, bare.Request.System = "", ""
	return writeJSON(d.inStores(willName), bare, willMax, d.flush)
}

// noted is why a durable run ended, kept from before its group goes, which tells
// that until then, to when its record says it.
type noted struct {
	Reason   outcome.Cause  `json:"reason,omitempty"`
	Receipt  cgroup.Receipt `json:"receipt"`
	Survived int            `json:"survived"`
}

// noteEnd is for a daemon that is killed, not for a power cut: nothing is synced.
func (d *directory) noteEnd(o outcome.Outcome) error {
	if d.flush == nil {
		return nil
	}
	return writeJSON(d.inStores(endName), noted{o.Reason, o.Receipt, o.Survived}, smallMax, nil)
}

// notedEnd is what noteEnd kept. The exit status isn't: whether the output is
// whole is not known any more.
func (d *directory) notedEnd() (o outcome.Outcome, err error) {
	o.Exit.Code = -1
	data, err := readSmall(d.inStore(endName))
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	var n noted
	if err == nil {
		err = json.Unmarshal(data, &n)
	}
	if err != nil {
		return o, fmt.Errorf("%s: %w", d.inStore(endName), err)
	}
	o.Reason, o.Receipt, o.Survived = n.Reason, n.Receipt, n.Survived
	return o, nil
}

// loadWill is nil for a run that isn't durable. The words are left where they are.
func (d *directory) loadWill() (*will, error) {
	data, err := readUpTo(d.inStore(willName), willMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	w := new(will)
	if err == nil {
		err = json.Unmarshal(data, w)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.inStore(willName), err)
	}
	return w, nil
}

// loadWords gives a checkpoint what its CLI may still have to be told.
func (d *directory) loadWords(w *will) error {
	if w.Words == nil {
		return nil
	}
	for _, one := range []struct {
		name string
		long int64
		to   *string
	}{{wordsName, w.Words.Prompt, &w.Request.Prompt}, {systemName, w.Words.System, &w.Request.System}} {
		data, err := readUpTo(d.inStore(one.name), one.long)
		if err == nil && int64(len(data)) != one.long {
			err = fmt.Errorf("%s: %d bytes instead of %d", d.inStore(one.name), len(data), one.long)
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

// hold narrows a run's figures to the bounds: a daemon with a narrower
// configuration, or one that could not keep runs from its files, may have left
// them.
func (b Bounds) hold(r *Record, w *will, now time.Time) {
	w.OutputMax, w.LineMax = narrow(w.OutputMax, b.OutputMax), narrow(w.LineMax, b.LineMax)
	w.Stall = narrow(w.Stall, b.Stall)
	w.Grace = min(max(w.Grace, 0), b.Grace)
	if r.Started != nil && r.Started.After(now) {
		r.Started = &now
	}
	if b.Timeout > 0 {
		last := now
		if r.Started != nil {
			last = *r.Started
		}
		last = last.Add(b.Timeout)
		if w.Deadline.IsZero() || w.Deadline.After(last) {
			w.Deadline = last
		}
	}
	if b.Limits == nil {
		return
	}
	if m := b.Limits.Memory; m != nil && m.Limit != nil {
		r.Limits = withMemory(r.Limits, narrow(memoryOf(r.Limits), *m.Limit))
	}
	if p := b.Limits.Pids; p != nil && p.Limit != nil {
		r.Limits = withPids(r.Limits, narrow(pidsOf(r.Limits), *p.Limit))
	}
}

// narrow is v, or most where v is none or more.
func narrow[T int64 | time.Duration](v, most T) T {
	if most > 0 && (v <= 0 || v > most) {
		return most
	}
	return v
}

// Live lists the durable runs that an earlier daemon has not seen to their end,
// for spawn.Options.Keep. It fails where that can't be told of one: its processes
// would be ended.
func (l *Lock) Live(bounds func(backend, kind string) Bounds) ([]spawn.Leftover, error) {
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
		if isPassing(err) {
			return nil, fmt.Errorf("runs: %s: whether it lives can't be told: %w", e.Name(), err)
		}
		r, w := found.record, found.will
		if w == nil || w.Past || r.State == Finished {
			continue // not durable, or over
		}
		bounds(r.Backend, w.Kind).hold(&r, w, time.Now())
		out = append(out, spawn.Leftover{ID: r.ID, Limits: r.Limits, Leader: w.Leader})
	}
	return out, nil
}

// isPassing tells an error of the host's from one of the file's.
func isPassing(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EIO} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
