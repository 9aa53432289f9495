package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"penstock/backend"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"

	"golang.org/x/sys/unix"
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

// trim leaves no more on disk of what the run has written than output_max, and
// nothing that the run has put in the place of its outputs. Its group is empty.
func (s *supervisor) trim() {
	if s.outputs == nil { // of an earlier daemon, and not started anew
		if err := trimLeftover(s.run.dir, s.checkpoint); err != nil {
			s.run.log.Warn("output not trimmed: it takes more of the disk than output_max", "err", err)
		}
		return
	}
	size, stderr, err := s.outputs.Trim(s.spec.OutputMax)
	if err != nil {
		s.run.log.Warn("output not trimmed: it takes more of the disk than output_max", "err", err)
		return
	}
	for name, ours := range map[string]*os.File{store.SpoolName: s.outputs.Spool, store.StderrName: s.outputs.Stderr} {
		if err := s.run.dir.RemoveOther(name, ours); err != nil {
			s.run.log.Warn("what lies in the place of the run's output is not removed", "err", err)
		}
	}
	s.size = size
	s.run.setOutputBytes(size + stderr)
}

// trimLeftover is for a run whose end no daemon has seen; cp is nil where that isn't durable.
func trimLeftover(d *store.Dir, cp *store.Checkpoint) error {
	most := int64(defaultOutputMax)
	if cp != nil && cp.OutputMax > 0 {
		most = cp.OutputMax
	}
	o, err := spool.OpenOutputs(d.File(store.SpoolName), d.File(store.StderrName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer o.Close()
	_, _, err = o.Trim(most)
	return err
}

// incomplete says why what the run wrote may not be all that it meant to write; ""
// where nothing speaks for that. The outputs' group is empty.
func (s *supervisor) incomplete() string {
	if why := s.outputLost.Load(); why != nil {
		return *why
	}
	if limit, ok := fileSizeLimit(); ok && s.outputs != nil {
		if spool, stderr, err := s.outputs.Sizes(); err == nil && uint64(max(spool, stderr)) >= limit {
			return fmt.Sprintf("its output reached the limit on the size of files that the daemon was started with (ulimit -f, LimitFSIZE=): %d bytes", limit)
		}
	}
	// A last word in the output that a full disk still took came after all else.
	full := s.run.diskFull.Load()
	if full != nil && (s.spec.Backend.Features().PlainExit || s.terminalAfterFull) {
		return *full
	}
	return ""
}

// fileSizeLimit is what runs inherit of RLIMIT_FSIZE; not ok is none.
func fileSizeLimit() (n uint64, ok bool) {
	var l unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &l); err != nil || l.Cur == unix.RLIM_INFINITY {
		return 0, false
	}
	return l.Cur, true
}

// newReplay is what reads the output of a run again.
func newReplay(b backend.Backend, cp *store.Checkpoint) *spool.Replay {
	request := cp.Request
	request.Prompt, request.System = "", ""
	p := &spool.Replay{Backend: b, Request: request, LineMax: cp.LineMax, OutputMax: cp.OutputMax}
	if cp.Restart == store.RestartDone {
		p.Notice = restartedNotice
	}
	return p
}
