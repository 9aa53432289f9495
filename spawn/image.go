package spawn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup"
	"penstock/internal/memfd"
	"penstock/outcome"
	"penstock/sandbox"
	"penstock/sandbox/bubblewrap"
	"penstock/sandbox/bundle"
	"penstock/sandbox/pid1"
)

// Image is a root file system that a command runs in, with process ids of its own.
type Image struct {
	Root bundle.Options // without what is set here: FirstFD, UserNamespace, Closed
	// Status is what process 1 writes down of the run, open for reading and appending. It
	// has a name, by which a later daemon finds it, and no run can write to it.
	Status *os.File
	// Lock stays open as long as process 1 lives, and the CLI hasn't it; nil is none.
	Lock                       *os.File
	ReadonlyPaths, MaskedPaths []string // of the run's own /proc
}

// Runtime is what starts commands in an Image.
type Runtime struct {
	Bubblewrap string   // its path
	Process1   *os.File // our program, static, that calls pid1.Main when it has these arguments
	Args       []string
}

// errNoRuntime is told of a command in an image where Options had none.
var errNoRuntime = errors.New("this daemon can't run in images: see penstock check")

// readonlyProc is what a run's own /proc shows that is the whole host's.
func readonlyProc() []string {
	return []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/proc/acpi", "/proc/scsi"}
}

// Descriptors of bubblewrap beside those of process 1.
const (
	argsFD = pid1.StderrFD + 1 + iota
	programFD
	numberFD // Image.Status once more: bubblewrap closes its own in the child
	firstFD
)

// inImage is one start.
type inImage struct {
	command Command
	bundle  *bundle.Bundle
	files   []*os.File // made for this start alone
	output  *os.File   // what is told on bubblewrap's stderr
}

func (i *inImage) close() {
	for _, f := range append(i.files, i.output) {
		if f != nil {
			_ = f.Close() // memory and pipes
		}
	}
	if i.bundle != nil {
		_ = i.bundle.Close()
	}
}

// childInImage turns a command in an image into bubblewrap that starts it.
func (s *Spawner) childInImage(c Command, stdio [3]*os.File) (_ sandbox.Child, i *inImage, err error) {
	i = &inImage{command: c}
	if s.runtime == nil {
		return sandbox.Child{}, i, errNoRuntime
	}
	if s.countsFiles() && sandbox.CanMount() && !sandbox.CanTrace() {
		return sandbox.Child{}, i, errUncounted
	}
	root := c.Image.Root
	root.FirstFD, root.UserNamespace, root.Closed = firstFD, !sandbox.CanMount(), s.protected
	if i.bundle, err = bundle.New(root); err != nil {
		return sandbox.Child{}, i, err
	}
	d := bubblewrap.Descriptors{Args: argsFD, Program: programFD, Status: numberFD}
	text, err := bubblewrap.Args(i.bundle.Spec, d)
	if err != nil {
		return sandbox.Child{}, i, err
	}
	job, err := s.jobOf(c, i.bundle).File()
	if err != nil {
		return sandbox.Child{}, i, err
	}
	i.files = append(i.files, job)
	args, err := memfd.Sealed("args", text)
	if err != nil {
		return sandbox.Child{}, i, err
	}
	i.files = append(i.files, args)
	output, told, err := os.Pipe()
	if err != nil {
		return sandbox.Child{}, i, err
	}
	i.output, i.files = output, append(i.files, told)
	extra := append([]*os.File{job, c.Image.Status, stdio[2], args, s.runtime.Process1, c.Image.Status}, i.bundle.Files...)
	if c.Image.Lock != nil {
		extra = append(extra, c.Image.Lock)
	}
	return sandbox.Child{
		Argv: bubblewrap.Argv(s.runtime.Bubblewrap, d, s.runtime.Args...),
		// Of process 1, which is to be small; the CLI's is in its job.
		Env:   []string{"GOMAXPROCS=1", "GOGC=off"},
		Dir:   "/",
		Files: [3]*os.File{stdio[0], stdio[1], told}, Extra: extra,
	}, i, nil
}

// unique are the paths of both, each once: every one is a mount.
func unique(some, more []string) []string {
	all := slices.Concat(some, more)
	slices.Sort(all)
	return slices.Compact(all)
}

// jobOf is what process 1 is to do.
func (s *Spawner) jobOf(c Command, b *bundle.Bundle) *pid1.Job {
	j := &pid1.Job{
		Process:       &specs.Process{Args: c.Argv, Env: c.Env, Cwd: c.Dir, OOMScoreAdj: &s.score},
		UserNamespace: !sandbox.CanMount(), ReadonlyPaths: unique(readonlyProc(), c.Image.ReadonlyPaths), MaskedPaths: c.Image.MaskedPaths,
		Writable: b.Writable, AbstractSockets: s.mask.AbstractSockets,
	}
	if c.Dir == "" {
		j.Process.Cwd = "/"
	}
	if c.User != nil {
		j.TakeUser = true
		j.Process.User = specs.User{UID: c.User.Uid, GID: c.User.Gid, AdditionalGids: c.User.Groups}
	}
	if l := s.mounting.NoFile(); l != nil {
		j.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Soft: l.Cur, Hard: l.Max}}
	}
	return j
}

// toldMost is how much of what bubblewrap says is kept.
const toldMost = 4096

// await waits until process 1 has started the CLI. An error is that it won't be: nothing
// of it lives, then, but what the group's kill will end.
func (i *inImage) await(ctx context.Context, most time.Duration) (pid1.Status, error) {
	for _, f := range i.files {
		_ = f.Close() // or the pipe would have no end
	}
	i.files = nil
	_ = i.bundle.Close() // bubblewrap has them, which may be a thousand
	defer context.AfterFunc(ctx, func() { _ = i.output.SetReadDeadline(time.Unix(1, 0)) })()
	if err := i.output.SetReadDeadline(time.Now().Add(most)); err != nil {
		return pid1.Status{}, err
	}
	var told []byte
	buf := make([]byte, 512)
	for {
		n, err := i.output.Read(buf)
		if at := strings.IndexByte(string(buf[:n]), pid1.Started); at >= 0 {
			return i.status()
		}
		told = append(told, buf[:min(n, toldMost-len(told))]...)
		switch {
		case ctx.Err() != nil:
			return pid1.Status{}, context.Cause(ctx)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return pid1.Status{}, fmt.Errorf("not started after %s", most)
		case err != nil && !errors.Is(err, io.EOF):
			return pid1.Status{}, err
		case err != nil:
			st, statusErr := i.status()
			if st.Failed != nil {
				return st, st.Failed
			}
			return st, errors.Join(runtimeFailed(strings.TrimSpace(string(told))), statusErr)
		}
	}
}

func (i *inImage) status() (pid1.Status, error) { return readStatus(i.command.Image.Status.Name()) }

func readStatus(path string) (pid1.Status, error) {
	f, err := os.Open(path)
	if err != nil {
		return pid1.Status{}, err
	}
	defer f.Close()
	return pid1.Read(io.LimitReader(f, math.MaxUint16))
}

// failedInImage explains why process 1 has not started a CLI.
func failedInImage(c Command, r cgroup.Receipt, err error) *StartError {
	fail := func(cause outcome.Cause, why string) *StartError {
		return &StartError{Cause: cause, Err: fmt.Errorf("start %s: image %s: %s: %s", c.ID, cmp.Or(c.Image.Root.Name, c.Image.Root.Image), c.Argv[0], why), Receipt: &r}
	}
	var failed *pid1.Failed
	if !errors.As(err, &failed) {
		if v, refused := outcome.RefusedStart(syscall.ENOMEM, r, c.Limits); refused {
			return fail(v.Cause, v.Message)
		}
		return fail(outcome.StartFailed, err.Error())
	}
	if v, refused := outcome.RefusedStart(failed.Errno, r, c.Limits); refused {
		return fail(v.Cause, v.Message)
	}
	if failed.Missing {
		return fail(outcome.CLIMissing, failed.Error())
	}
	return fail(outcome.StartFailed, failed.Error())
}
