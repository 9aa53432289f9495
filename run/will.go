package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"penstock/backend"
	"penstock/spawn"
)

// willName is kept beside the record as long as that is.
const willName = "will.json"

// willMax is room for a prompt of the largest request, each byte of it escaped.
const willMax = 64 << 20

// will is what the next daemon must know of a durable run: to see it to its
// end, to go on talking to its CLI, and to read its output again.
type will struct {
	// Request makes the machine. It holds the prompt while the CLI may still
	// have to be told it.
	Request     backend.Request `json:"request"`
	Fingerprint []byte          `json:"fingerprint,omitempty"`
	Leader      int             `json:"leader,omitempty"` // pid; 0 until the birth and after the end
	Deadline    time.Time       `json:"deadline,omitzero"`
	Grace       time.Duration   `json:"grace"`
	Stall       time.Duration   `json:"stall"`
	OutputMax   int64           `json:"output_max"`
	LineMax     int64           `json:"line_max"`
	SoftEnd     bool            `json:"soft_end,omitempty"`
	Settle      bool            `json:"settle,omitempty"`
	Talks       bool            `json:"talks,omitempty"` // backend.Conversation
	Session     Session         `json:"session,omitzero"`
}

func newWill(s Spec, p plan) *will {
	w := &will{
		Request: p.request, Fingerprint: s.Fingerprint, Deadline: s.Deadline, Grace: s.Grace, Stall: s.Stall,
		OutputMax: s.OutputMax, LineMax: s.LineMax, SoftEnd: p.command.SoftEnd, Settle: p.command.Settle,
		Talks: p.command.Input == backend.Conversation, Session: p.session,
	}
	if !w.Talks {
		w.forgetPrompt()
	}
	return w
}

func (w *will) forgetPrompt() { w.Request.Prompt, w.Request.System = "", "" }

// spec is the part of a Spec that matters after the birth.
func (w *will) spec(r Record, b backend.Backend) Spec {
	return Spec{
		ID: r.ID, Client: r.Client, Model: r.Model, Backend: b, Session: r.Session, Limits: r.Limits, Metadata: r.Metadata,
		Deadline: w.Deadline, Grace: w.Grace, Stall: w.Stall, OutputMax: w.OutputMax, LineMax: w.LineMax,
		Durable: true, Fingerprint: w.Fingerprint,
	}
}

func (d *directory) saveWill(w *will) error { return writeJSON(d.file(willName), w) }

// loadWill is nil for a run that isn't durable.
func (d *directory) loadWill() (*will, error) {
	data, err := readUpTo(d.file(willName), willMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	w := new(will)
	if err == nil {
		err = json.Unmarshal(data, w)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.file(willName), err)
	}
	return w, nil
}

// Live lists the durable runs that an earlier daemon has not seen to their end,
// for spawn.Options.Keep.
func (l *Lock) Live() ([]spawn.Leftover, error) {
	entries, err := os.ReadDir(l.state.runs())
	if err != nil {
		return nil, fmt.Errorf("runs: %w", err)
	}
	var out []spawn.Leftover
	for _, e := range entries {
		d := &directory{path: filepath.Join(l.state.runs(), e.Name())}
		if _, err := os.Lstat(d.file(willName)); err != nil {
			continue // not durable, or no run
		}
		record := d.load()
		if checkID(record.ID) != nil || record.State == Finished {
			continue
		}
		left := spawn.Leftover{ID: record.ID, Limits: record.Limits}
		if w, err := d.loadWill(); err == nil && w != nil {
			left.Leader = w.Leader
		}
		out = append(out, left)
	}
	return out, nil
}
