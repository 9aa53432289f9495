package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"penstock/outcome"
)

// ErrSpoiled is wrapped by Next when the run's child has truncated, replaced or
// removed its output: what was read and what could be read again differ.
var ErrSpoiled = errors.New("the run's output was truncated, replaced or removed by its own process")

// ErrPruned is wrapped by Next when the output of a finished run is not kept any more.
var ErrPruned = errors.New("the run has ended and its output is not kept any more")

const (
	truncatedHint = "its output was truncated: write to stdout without opening it anew (use >> /dev/stdout)"
	replacedHint  = "its output file was replaced or removed: only TMPDIR, the working directory and HOME are the run's to change"
)

// spoil marks the run; its watcher ends it.
func (r *Run) spoil() {
	if !r.spoiled.Swap(true) {
		r.grown.beat()
	}
}

// fail makes a spoiled output the CLI's last word, over what it said before.
func (w *watcher) fail(hint string) {
	w.run.spoil()
	if w.lastWord {
		return
	}
	w.lastWord = true
	w.run.log.Error("output spoiled", "what", hint)
	w.terminal = &outcome.Terminal{Failure: outcome.CLIError, Message: hint}
}

// verify looks whether the spool's name still is that of the file of its birth.
func (w *watcher) verify() {
	if !w.run.hasSpool() {
		w.fail(replacedHint)
	}
}

func (r *Run) hasSpool() bool {
	info, err := os.Lstat(r.dir.file(spoolName))
	return err == nil && os.SameFile(info, r.spool)
}

// openSpool opens the very file the run was born with.
func (r *Run) openSpool() (*os.File, error) {
	if r.spoiled.Load() {
		return nil, fmt.Errorf("read spool of %s: %w", r.id, ErrSpoiled)
	}
	ended := isClosed(r.ended) // a later removal is pruning
	f, info, err := openPlain(r.dir.file(spoolName))
	if err != nil && !ended && !r.hasSpool() {
		return nil, fmt.Errorf("read spool of %s: %w: %w", r.id, ErrSpoiled, err)
	}
	if ended && errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read spool of %s: %w", r.id, ErrPruned)
	}
	if err != nil {
		return nil, fmt.Errorf("read spool of %s: %w", r.id, err)
	}
	if !os.SameFile(info, r.spool) {
		return nil, errors.Join(fmt.Errorf("read spool of %s: %w", r.id, ErrSpoiled), f.Close())
	}
	return f, nil
}
