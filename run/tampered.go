package run

import (
	"penstock/outcome"
)

const (
	truncatedHint = "its output was truncated: write to stdout without opening it anew (use >> /dev/stdout)"
	replacedHint  = "its output file was replaced or removed: only TMPDIR, the working directory and HOME are the run's to change"
)

// failTampered makes a tampered output the CLI's last word, over what it said before.
func (s *supervisor) failTampered(hint string) {
	s.run.spool.MarkTampered()
	if s.tamperedWord {
		return
	}
	s.tamperedWord = true
	s.run.log.Error("output spoiled", "what", hint)
	s.terminal = &outcome.Terminal{Failure: outcome.CLIError, Message: hint}
}

// checkSpool looks whether the spool's name still is that of the file it was started with.
func (s *supervisor) checkSpool() {
	if !s.run.spool.InPlace() {
		s.failTampered(replacedHint)
	}
}
