package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Outcomes of a handover.
const (
	handoverDone    = "done"
	handoverRefused = "refused" // nothing has changed
	handoverFailed  = "failed"  // what didn't finish was ended; the daemon has begun anew by itself, or has ended
)

// handoverNote is how the last handover went, as <state_dir>/handover.json.
type handoverNote struct {
	Outcome string    `json:"outcome"`
	Version string    `json:"version"` // of who writes it
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at"`
}

func handoverPath(stateDir string) string { return filepath.Join(stateDir, "handover.json") }

// write replaces the note whole.
func (n handoverNote) write(stateDir string) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note of the handover: %w", err)
	}
	f, err := os.CreateTemp(stateDir, ".new-*")
	if err != nil {
		return fmt.Errorf("note of the handover: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), handoverPath(stateDir))
	}
	if err != nil {
		return fmt.Errorf("note of the handover: %w", errors.Join(err, os.Remove(f.Name())))
	}
	return nil
}
