package pid1

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"penstock/sandbox"
)

// record is a line of the status file. bubblewrap writes lines of its own to it, which
// tell the number of process 1 outside (child-pid).
type record struct {
	Started  int     `json:"started,omitempty"` // the CLI's number, inside
	Pool     string  `json:"pool,omitempty"`
	Failed   *Failed `json:"failed,omitempty"`
	Ended    *ended  `json:"ended,omitempty"`
	ChildPID int     `json:"child-pid,omitempty"`
}

// Failed is why the CLI was not started.
type Failed struct {
	Step    string        `json:"step"`              // "execute"
	Missing bool          `json:"missing,omitempty"` // it is the program that is at fault
	Errno   syscall.Errno `json:"errno,omitempty"`
	Message string        `json:"message"`
}

func (f *Failed) Error() string { return f.Step + ": " + f.Message }

type ended struct {
	Code      int  `json:"code"` // -1 with a signal
	Signal    int  `json:"signal,omitempty"`
	Core      bool `json:"core,omitempty"`
	Survivors int  `json:"survivors,omitempty"`
}

// Status is what is known of a run by its status file, in this life of the daemon or a
// later one.
type Status struct {
	PID       int     // process 1, as the daemon sees it; 0 is not born yet
	Started   bool    // the CLI has been executed
	Pool      string  // Writable.Pool, where there is one
	Failed    *Failed // it has not, and won't be
	Ended     bool    // it has ended, as told in the rest
	Code      int
	Signal    syscall.Signal
	Core      bool
	Survivors int // processes that lived on beside it
}

// Read reads a status file. A last line that is not whole yet isn't there yet.
func Read(r io.Reader) (Status, error) {
	var s Status
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return s, err
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return s, fmt.Errorf("status of process 1: %w", err)
		}
		s.take(rec)
	}
}

func (s *Status) take(r record) {
	if r.ChildPID != 0 {
		s.PID = r.ChildPID
	}
	if r.Started != 0 {
		s.Started, s.Pool = true, r.Pool
	}
	if r.Failed != nil {
		s.Failed = r.Failed
	}
	if e := r.Ended; e != nil {
		s.Ended, s.Code, s.Signal, s.Core, s.Survivors = true, e.Code, syscall.Signal(e.Signal), e.Core, e.Survivors
	}
}

// write appends a line by one write(2).
func write(f *os.File, r record) error {
	line, err := json.Marshal(r)
	if err == nil {
		_, err = f.Write(append(line, '\n'))
	}
	return err
}

// fail writes down that the CLI was not started, and returns what to exit with.
func fail(status *os.File, step string, err error) int {
	return failed(status, Failed{Step: step}, err)
}

func failMissing(status *os.File, err error) int {
	return failed(status, Failed{Step: "look for the program", Missing: true}, err)
}

// failStart is for an error of the fork, or of the child before it executes.
func failStart(status *os.File, err error) int {
	f := Failed{Step: sandbox.Step(err)}
	var errno syscall.Errno
	if errors.As(err, &errno) && f.Step == sandbox.StepExecute {
		switch errno {
		case unix.ENOENT, unix.EACCES, unix.ENOTDIR, unix.EISDIR, unix.ELOOP, unix.ENOEXEC:
			f.Missing = true
		}
	}
	if f.Step == "" {
		f.Step = "fork"
	}
	return failed(status, f, err)
}

func failed(status *os.File, f Failed, err error) int {
	f.Message = err.Error()
	_ = errors.As(err, &f.Errno)
	_ = write(status, record{Failed: &f}) // what is not told is a failure, too
	return ExitFailed
}
