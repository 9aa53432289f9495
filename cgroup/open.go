package cgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"

	"penstock/cgroup/cgroupfs"
)

var nameForm = regexp.MustCompile(`^[a-z0-9-]+$`)

// Open finds where groups may be made, in the order of ways, moves the daemon
// into <root>/daemon and prepares <root>/runs. A way whose limits the kernel
// would hold goes before one where it would not. A refusal wraps ErrUnsupported,
// names each way that was tried and leaves the tree as it was, except that a
// process which was given a scope stays in it: nobody can take it back to where
// an ordinary user may not write. Root.Close takes all of it back but that.
func Open(ctx context.Context, o Options) (*Root, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r, err := openFrom(ctx, o, rootSources())
	if err != nil {
		return nil, fmt.Errorf("open cgroup root: %w:\n%w", ErrUnsupported, err)
	}
	o.Logger.Info("cgroup root", "path", r.path, "source", r.source, "memory", r.enforced.Memory, "pids", r.enforced.Pids)
	r.warnHugePages(hugePagesDir)
	return r, nil
}

func openFrom(ctx context.Context, o Options, ways []rootSource) (*Root, error) {
	var tried []error
	var second []rootSource
	for _, w := range ways {
		r, err := w.open(ctx, o, candidate.requireKernel)
		switch {
		case err == nil:
			return r, nil
		case o.Mode == Available && errors.Is(err, errLacks):
			second = append(second, w)
		default:
			tried = append(tried, fmt.Errorf("%s: %w", w.name, err))
		}
	}
	for _, w := range second {
		r, err := w.open(ctx, o, func(candidate) error { return nil })
		if err == nil {
			return r, nil
		}
		tried = append(tried, fmt.Errorf("%s: %w", w.name, err))
	}
	return nil, errors.Join(tried...)
}

// open tries one way. Where we stand is read anew: an earlier way may have
// moved us.
func (w rootSource) open(ctx context.Context, o Options, accept func(candidate) error) (*Root, error) {
	here, err := cgroupfs.FindLocation()
	if err != nil {
		return nil, err
	}
	p, err := w.probe(ctx, here, o)
	if err != nil {
		return nil, err
	}
	if err := accept(p); err != nil {
		return nil, err
	}
	here, s, err := p.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return initRoot(ctx, here, s, w.name, o)
}

func (o Options) check() error {
	if o.Mode != Strict && o.Mode != Available {
		return fmt.Errorf("cgroup mode: %q: want %q or %q", o.Mode, Strict, Available)
	}
	if !nameForm.MatchString(o.Name) || o.Name == cgroupfs.DaemonLeaf || o.Name == cgroupfs.RunsDir {
		return fmt.Errorf("cgroup name: %q: want [a-z0-9-]+, not %q or %q", o.Name, cgroupfs.DaemonLeaf, cgroupfs.RunsDir)
	}
	if o.Budget < 0 || (o.Budget > 0 && o.Budget < memoryFloor) {
		return fmt.Errorf("cgroup budget: %d: below %d bytes no run fits: raise it", o.Budget, int64(memoryFloor))
	}
	return nil
}
