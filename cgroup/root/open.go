package root

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"penstock/cgroup/cgroupfs"
)

var nameForm = regexp.MustCompile(`^[a-z0-9-]+$`)

// Open finds where groups may be made, in the order of rootSources, moves the
// daemon into <root>/daemon and prepares <root>/runs. A source whose limits the kernel
// would hold goes before one where it would not. A root is taken once use has
// accepted it; one that it refuses, use has to roll back.
//
// A refusal wraps ErrUnsupported, names each source that was tried and leaves the tree
// as it was, except that a process which was given a scope stays in it: it can't be
// taken back to where an ordinary user may not write.
func Open(ctx context.Context, o Options, use func(*Root) error) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := openFrom(ctx, o, rootSources(), use)
	if err != nil {
		return fmt.Errorf("open cgroup root: %w:\n%w", ErrUnsupported, err)
	}
	o.Logger.Info("cgroup root", "path", r.path, "source", r.source, "memory", r.enforced.Memory, "pids", r.enforced.Pids)
	r.warnHugePages(hugePagesDir)
	return nil
}

func openFrom(ctx context.Context, o Options, sources []rootSource, use func(*Root) error) (*Root, error) {
	var tried []error
	var second []rootSource
	for _, s := range sources {
		r, err := s.open(ctx, o, candidate.requireKernel, use)
		switch {
		case err == nil:
			return r, nil
		case o.Mode == Available && errors.Is(err, errLacks):
			second = append(second, s)
		default:
			tried = append(tried, fmt.Errorf("%s: %w", s.name, err))
		}
	}
	for _, s := range second {
		r, err := s.open(ctx, o, func(candidate) error { return nil }, use)
		if err == nil {
			return r, nil
		}
		tried = append(tried, fmt.Errorf("%s: %w", s.name, err))
	}
	return nil, errors.Join(tried...)
}

// open tries one source. Where we stand is read anew: an earlier one may have
// moved us.
func (s rootSource) open(ctx context.Context, o Options, accept func(candidate) error, use func(*Root) error) (*Root, error) {
	here, err := cgroupfs.FindLocation()
	if err != nil {
		return nil, err
	}
	c, err := s.probe(ctx, here, o)
	if err != nil {
		return nil, err
	}
	if err := accept(c); err != nil {
		return nil, err
	}
	here, target, err := c.acquire(ctx)
	if err != nil {
		return nil, err
	}
	r, err := initRoot(ctx, here, target, s.name, o)
	if err != nil {
		return nil, err
	}
	return r, use(r)
}

func (o Options) check() error {
	if o.Mode != Strict && o.Mode != Available {
		return fmt.Errorf("cgroup mode: %q: want %q or %q", o.Mode, Strict, Available)
	}
	if !nameForm.MatchString(o.Name) || o.Name == cgroupfs.DaemonLeaf || o.Name == cgroupfs.RunsDir {
		return fmt.Errorf("cgroup name: %q: want [a-z0-9-]+, not %q or %q", o.Name, cgroupfs.DaemonLeaf, cgroupfs.RunsDir)
	}
	return nil
}
