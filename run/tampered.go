package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"penstock/outcome"
)

// ErrTampered is wrapped by Next when the run's child has truncated, replaced or
// removed its output: what was read and what could be read again differ.
var ErrTampered = errors.New("the run's output was truncated, replaced or removed by its own process")

// ErrPruned is wrapped by Next when the output of a finished run is not kept any more.
var ErrPruned = errors.New("the run has ended and its output is not kept any more")

const (
	truncatedHint = "its output was truncated: write to stdout without opening it anew (use >> /dev/stdout)"
	replacedHint  = "its output file was replaced or removed: only TMPDIR, the working directory and HOME are the run's to change"
)

// markTampered marks the run; its supervisor ends it.
func (r *Run) markTampered() {
	if !r.tampered.Swap(true) {
		r.grown.signal()
	}
}

// failTampered makes a tampered output the CLI's last word, over what it said before.
func (s *supervisor) failTampered(hint string) {
	s.run.markTampered()
	if s.tamperedWord {
		return
	}
	s.tamperedWord = true
	s.run.log.Error("output spoiled", "what", hint)
	s.terminal = &outcome.Terminal{Failure: outcome.CLIError, Message: hint}
}

// checkSpool looks whether the spool's name still is that of the file it was started with.
func (s *supervisor) checkSpool() {
	if !s.run.spoolInPlace() {
		s.failTampered(replacedHint)
	}
}

func (r *Run) spoolInPlace() bool {
	info, err := os.Lstat(r.dir.file(spoolName))
	return err == nil && os.SameFile(info, r.spool)
}

// openSpool opens the very file the run was started with.
func (r *Run) openSpool() (*os.File, error) {
	if r.tampered.Load() {
		return nil, fmt.Errorf("read spool of %s: %w", r.id, ErrTampered)
	}
	ended := isClosed(r.ended) // a later removal is pruning
	f, info, err := openPlain(r.dir.file(spoolName))
	if err != nil && !ended && !r.spoolInPlace() {
		return nil, fmt.Errorf("read spool of %s: %w: %w", r.id, ErrTampered, err)
	}
	if ended && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read spool of %s: %w", r.id, ErrPruned)
	}
	if err != nil {
		return nil, fmt.Errorf("read spool of %s: %w", r.id, err)
	}
	if !os.SameFile(info, r.spool) {
		return nil, errors.Join(fmt.Errorf("read spool of %s: %w", r.id, ErrTampered), f.Close())
	}
	return f, nil
}
