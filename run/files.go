package run

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"
)

// files are what open has taken hold of, for one process.
type files struct {
	// seen is Grown of when the end of the spool was last seen: until it is closed nothing
	// has come.
	seen      <-chan struct{}
	outputs   *spool.Outputs // nil: not opened
	watch     func()         // the outputs; nil once that has begun
	stopWatch func()
	stdin     *stdinWriter
	reading   *spool.Reading
}

// open takes hold of the run's files before the child can write to them.
func (s *supervisor) open(d *store.Dir) (err error) {
	if s.files.outputs, err = spool.OpenOutputs(d.File(store.SpoolName), d.File(store.StderrName)); err != nil {
		return err
	}
	s.files.watch = func() {
		s.files.stopWatch = spool.WatchFiles(s.manager.notifier, &s.run.spool.Grown, s.run.log, s.files.outputs.Spool, s.files.outputs.Stderr)
		s.files.watch = nil
		s.run.spool.Grown.Signal() // no event tells of what was written before
	}
	if s.checkpoint.Talks {
		if err := s.openStdin(d); err != nil {
			return err
		}
	}
	info, err := s.files.outputs.Spool.Stat()
	if err != nil {
		return err
	}
	if !s.child.adopted {
		s.checkpoint.Spool, _ = spool.Inode(info)
	}
	if s.spec.Durable && !s.child.adopted {
		s.checkpoint.Stderr, _ = spool.InodeOf(s.files.outputs.Stderr)
	}
	s.turn.session = s.checkpoint.Session
	s.run.setOutputs(s.files.outputs)
	replay := newReplay(s.spec.Backend, s.checkpoint)
	replay.Buffers = &s.manager.buffers
	s.run.dir = d
	s.run.spool.Set(d.File(store.SpoolName), info, replay)
	s.files.seen = nil
	s.files.reading = replay.ReadBy(s.spec.Backend.Machine(s.checkpoint.Request), s.files.outputs.Spool)
	return nil
}

func (s *supervisor) openStdin(d *store.Dir) (err error) {
	var log *store.StdinLog
	if s.spec.Durable {
		if log, err = store.OpenStdinLog(d.StorePath(store.StdinLogName), !s.child.adopted); err != nil {
			return err
		}
	}
	s.files.stdin, err = newStdinWriter(d.File(store.StdinName), log, func() { s.run.End(outcome.Lost) })
	return err
}

// release gives back all that open took.
func (f *files) release() {
	if f.stopWatch != nil {
		f.stopWatch()
	}
	f.stdin.close()
	if f.outputs != nil {
		f.outputs.Close()
	}
}

// cleanUpMax bounds what a file system or a child's million files may cost the
// end of a run; the rest is done in the background.
const cleanUpMax = 10 * time.Second

// cleanUp is for the moment when the run's group is empty and not yet removed.
func (s *supervisor) cleanUp(o outcome.Outcome) {
	log, dir := s.run.log, s.run.dir
	if !within(cleanUpMax, func() {
		// First: what the run itself filled the disk with is about to go.
		disk := fileSystemOf(filepath.Dir(dir.Path))
		if why := disk.refusesWrites(dir); why != "" {
			s.run.noteDiskFull(why)
		}
		if err := dir.RemoveScratch(); err != nil {
			log.Warn("scratch not removed", "err", err)
		}
		if err := s.settleOutputs(&disk); err != nil {
			log.Warn("output not written back (hint: check the disk of the state directory)", "err", err)
			if why := diskError(err); why != "" {
				s.facts.outputLost.Store(&why)
			}
		}
		if err := dir.SaveEnd(o); err != nil {
			log.Warn("the end is not noted for a later daemon", "err", err)
		}
	}) {
		s.child.cleaningUp = true
		log.Warn("scratch not removed yet: the run ends without it", "after", cleanUpMax)
	}
}

// settleOutputs flushes outputs that a power cut must not take, or of which a write may
// be refused as late as that. What their pages are charged to would not go before them.
func (s *supervisor) settleOutputs(on *fileSystem) error {
	err := s.flushOutputs(on)
	if s.manager.enforced.Memory == cgroup.Kernel {
		err = errors.Join(err, s.files.outputs.DropPages())
	}
	return err
}

func (s *supervisor) flushOutputs(on *fileSystem) error {
	if !s.spec.Durable && on.isExact() {
		return nil
	}
	err := s.files.outputs.Flush()
	if why := diskError(err); why != "" { // no later call is told it again
		s.facts.outputLost.Store(&why)
	}
	return err
}

// within waits for f only so long, and tells whether it returned.
func within(limit time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

const (
	truncatedHint = "its output was truncated: write to stdout without opening it anew (use >> /dev/stdout)"
	replacedHint  = "its output file was replaced or removed: only TMPDIR, the working directory and HOME are the run's to change"
)

// failTampered makes a tampered output the CLI's last word, over what it said before.
func (s *supervisor) failTampered(hint string) {
	s.run.spool.MarkTampered()
	if s.facts.tamperedWord {
		return
	}
	s.facts.tamperedWord = true
	s.run.log.Error("output tampered with", "what", hint)
	s.facts.terminal = &outcome.Terminal{Failure: outcome.CLIError, Message: hint}
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
	if s.files.outputs == nil { // of an earlier daemon, and not started anew
		if err := trimLeftover(s.run.dir, s.checkpoint); err != nil {
			s.run.log.Warn("output not trimmed: it takes more of the disk than output_max", "err", err)
		}
		return
	}
	size, stderr, err := s.files.outputs.Trim(s.spec.OutputMax)
	if err != nil {
		s.run.log.Warn("output not trimmed: it takes more of the disk than output_max", "err", err)
		return
	}
	for name, ours := range map[string]*os.File{store.SpoolName: s.files.outputs.Spool, store.StderrName: s.files.outputs.Stderr} {
		if err := s.run.dir.RemoveOther(name, ours); err != nil {
			s.run.log.Warn("what lies in the place of the run's output is not removed", "err", err)
		}
	}
	s.facts.size = size
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
	if why := s.facts.outputLost.Load(); why != nil {
		return *why
	}
	if limit, ok := fileSizeLimit(); ok && s.files.outputs != nil {
		if spool, stderr, err := s.files.outputs.Sizes(); err == nil && uint64(max(spool, stderr)) >= limit {
			return fmt.Sprintf("its output reached the limit on the size of files that the daemon was started with (ulimit -f, LimitFSIZE=): %d bytes", limit)
		}
	}
	// A last word in the output that a full disk still took came after all else.
	full := s.run.diskFull.Load()
	if full != nil && (s.spec.Backend.Features().PlainExit || s.facts.terminalAfterFull) {
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
	request.Prompt, request.System, request.Attachments = "", "", nil
	p := &spool.Replay{Backend: b, Request: request, LineMax: cp.LineMax, OutputMax: cp.OutputMax}
	if cp.Restart == store.RestartDone {
		p.Notice = restartedNotice
	}
	return p
}
