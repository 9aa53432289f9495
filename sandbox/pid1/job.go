package pid1

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"penstock/internal/memfd"
	"penstock/sandbox"
)

// Job is what process 1 is to do. It holds the CLI's environment, so it comes by a
// descriptor and is on no command line.
type Job struct {
	Process *specs.Process `json:"process"`
	// TakeUser gives the CLI Process.User, and what is made for it to that; else it is of
	// this process's user.
	TakeUser bool `json:"takeUser,omitempty"`
	// UserNamespace is that of bubblewrap, one below that which owns its mounts.
	UserNamespace   bool      `json:"userNamespace,omitempty"`
	ReadonlyPaths   []string  `json:"readonlyPaths,omitempty"`
	MaskedPaths     []string  `json:"maskedPaths,omitempty"`
	Writable        *Writable `json:"writable,omitempty"`
	AbstractSockets bool      `json:"abstractSockets,omitempty"`
}

// Writable is what the CLI may fill beside its mounts: several places, of one tmpfs and
// so of one size, which bubblewrap can't make of it.
type Writable struct {
	Pool   string  `json:"pool"`   // where that is mounted: one of the places
	Places []Place `json:"places"` // empty directories of its
	// Moves are what bubblewrap has put into the pool, to be bound to where it belongs.
	Moves []Move `json:"moves,omitempty"`
}

// Place is a directory of the CLI's own.
type Place struct {
	Path string      `json:"path"` // a directory by now
	Mode os.FileMode `json:"mode"` // permissions and os.ModeSticky
}

// Move is a mount that gets another place.
type Move struct {
	From string `json:"from"` // relative to the pool
	To   string `json:"to"`   // made here
	// Below is the directory that To lies in and that the way to it is made in: a place, or a
	// mount. What is in a mount runs may have made: no link is followed there. "" is that To is
	// there, in the image.
	Below    string `json:"below,omitempty"`
	File     bool   `json:"file,omitempty"`
	ReadOnly bool   `json:"readOnly,omitempty"`
}

// jobMost is how long a Job may be: arguments and environment, which execve limits.
const jobMost = 8 << 20

// written is how a Job is passed on: a line of JSON, and behind it the arguments and the
// environment, each with a NUL at its end. They may be any bytes, which JSON would change.
type written struct {
	*Job

	Args int `json:"args"` // how many of them are arguments
}

// File is the job in memory, to be inherited as JobFD.
func (j *Job) File() (*os.File, error) {
	head, process := *j, *j.Process
	head.Process = &process
	process.Args, process.Env = nil, nil
	text, err := json.Marshal(written{&head, len(j.Process.Args)})
	if err != nil {
		return nil, fmt.Errorf("job of process 1: %w", err)
	}
	text = append(text, '\n')
	for _, one := range slices.Concat(j.Process.Args, j.Process.Env) {
		if strings.ContainsRune(one, 0) {
			return nil, errors.New("job of process 1: a NUL in an argument or a variable")
		}
		text = append(append(text, one...), 0)
	}
	return memfd.Sealed("job", text)
}

func readJob(f *os.File) (*Job, error) {
	text, err := io.ReadAll(io.LimitReader(f, jobMost))
	if err != nil {
		return nil, err
	}
	head, rest, _ := strings.Cut(string(text), "\n")
	w := written{Job: &Job{}}
	if err := errors.Join(json.Unmarshal([]byte(head), &w), f.Close()); err != nil {
		return nil, err
	}
	all := strings.Split(rest, "\x00")
	all = all[:len(all)-1]
	if w.Process == nil || w.Args < 1 || w.Args > len(all) {
		return nil, errors.New("no program")
	}
	w.Process.Args, w.Process.Env = all[:w.Args], all[w.Args:]
	return w.Job, nil
}

// child is the CLI, but for its program's path.
func (j *Job) child() sandbox.Child {
	c := sandbox.Child{
		Argv: j.Process.Args, Env: j.Process.Env, Dir: j.Process.Cwd,
		Files: [3]*os.File{os.Stdin, os.Stdout, os.NewFile(StderrFD, "stderr")},
	}
	if j.TakeUser {
		c.User = &syscall.Credential{Uid: j.Process.User.UID, Gid: j.Process.User.GID, Groups: j.Process.User.AdditionalGids}
	}
	return c
}

// pool is where the tmpfs of the CLI's directories is mounted; "" is none.
func (j *Job) pool() string {
	if j.Writable == nil {
		return ""
	}
	return j.Writable.Pool
}

// noFile is RLIMIT_NOFILE of the job; nil is none.
func (j *Job) noFile() *syscall.Rlimit {
	for _, l := range j.Process.Rlimits {
		if l.Type == "RLIMIT_NOFILE" {
			return &syscall.Rlimit{Cur: l.Soft, Max: l.Hard}
		}
	}
	return nil
}
