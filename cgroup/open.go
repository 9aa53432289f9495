package cgroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
)

var nameForm = regexp.MustCompile(`^[a-z0-9-]+$`)

// way is one place a root may come from. site answers where it would be, or why
// this way is closed; the ways are tried in order.
type way struct {
	source string
	site   func(place, Options) (site, error)
}

// site is a root before it is set up.
type site struct {
	path string // the root
	// parent is our own group where the root is made below it, else "".
	parent string
}

func ways() []way {
	return []way{
		{"unit", unitSite},
		// A transient scope asked for over D-Bus belongs here.
		{"subtree", subtreeSite},
	}
}

// Open finds where groups may be made, in the order of ways, moves the daemon
// into <root>/daemon and prepares <root>/runs. A refusal wraps ErrUnsupported,
// names each way that was tried and leaves the tree as it was. Root.Close
// takes all of it back.
func Open(ctx context.Context, o Options) (*Root, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	here, err := findPlace()
	if err != nil {
		return nil, fmt.Errorf("open cgroup root: %w: %w", ErrUnsupported, err)
	}
	var tried []error
	for _, w := range ways() {
		s, err := w.site(here, o)
		if err == nil {
			var r *Root
			if r, err = setUp(ctx, here, s, w.source, o); err == nil {
				o.Logger.Info("cgroup root", "path", r.path, "source", r.source, "memory", r.enforced.Memory, "pids", r.enforced.Pids)
				return r, nil
			}
		}
		tried = append(tried, fmt.Errorf("%s: %w", w.source, err))
	}
	return nil, fmt.Errorf("open cgroup root: %w: %w", ErrUnsupported, errors.Join(tried...))
}

func (o Options) check() error {
	if o.Mode != Strict && o.Mode != Available {
		return fmt.Errorf("cgroup mode: %q: want %q or %q", o.Mode, Strict, Available)
	}
	if !nameForm.MatchString(o.Name) || o.Name == daemonLeaf || o.Name == runsDir {
		return fmt.Errorf("cgroup name: %q: want [a-z0-9-]+, not %q or %q", o.Name, daemonLeaf, runsDir)
	}
	if o.Budget < 0 || (o.Budget > 0 && o.Budget < memoryFloor) {
		return fmt.Errorf("cgroup budget: %d: below %d bytes no run fits: raise it", o.Budget, int64(memoryFloor))
	}
	return nil
}

func unitSite(here place, o Options) (site, error) {
	root, ok := delegatedRoot(here.own)
	if !ok {
		return site{}, fmt.Errorf("%s: not delegated to us: set Delegate=yes in the unit", here.own)
	}
	return site{path: root}, nil
}

func subtreeSite(here place, o Options) (site, error) {
	if here.mount.readOnly {
		return site{}, fmt.Errorf("%s: mounted read-only: take ProtectControlGroups= out of the unit, or give the container a writable cgroup namespace", here.mount.point)
	}
	return site{path: filepath.Join(here.own, o.Name), parent: here.own}, nil
}
