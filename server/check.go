package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"

	"penstock/config"
	"penstock/image"
	"penstock/run/store"
	"penstock/server/listener"
	"penstock/spawn"
)

// DryRun tells beforehand why Run would refuse to start, part by part and by Run's
// own code. It leaves nothing behind, and nothing of a daemon that runs is touched.
type DryRun struct{ Config config.Config }

// Listen has an error or nil for each address of Config.Listen.
func (t DryRun) Listen() []error { return listener.Check(t.Config) }

// State says where the state directory is, or would be made.
func (t DryRun) State() (there string, err error) { return store.CheckDir(t.Config.StateDir) }

// Backend is what stops a daemon; a program that isn't there only leaves its
// backend out.
func (t DryRun) Backend(name string) error {
	_, err := newBackend(t.Config.Backends[name])
	return err
}

// Images says why Run would refuse those of the configuration.
func (t DryRun) Images() error {
	s, err := image.OpenExisting(image.Dir(t.Config.StateDir))
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	sources := t.Config.ImageSources()
	return errors.Join(err, image.Plan(s, sources), fitImages(t.Config, func(name string) (image.Known, error) { return image.Lookup(s, sources, name) }),
		fitPrograms(context.Background(), t.Config, s, sources))
}

// Isolation makes groups where Run would, under a name of their own, takes the
// self-test in them where it is wanted, and removes them. A process that gets a
// scope from the service manager stays in it to its end.
func (t DryRun) Isolation(ctx context.Context, nap []string) (is spawn.Isolation, held spawn.Enforced, err error) {
	a, err := newBackends(t.Config)
	if err != nil {
		return is, held, err
	}
	o := spawnOptions(t.Config, a, slog.New(slog.DiscardHandler))
	o.Cgroup.Name += "-check"
	o.Cgroup.Trial, o.SleepCommand = true, nap
	s, err := spawn.Open(ctx, o)
	if err != nil {
		return is, held, err
	}
	is, held = s.Isolation(), s.Enforced()
	var connections listener.Connections
	if err = connections.Open(o.Logger); err != nil {
		err = fmt.Errorf("serve: %w", err)
	} else {
		connections.Close()
	}
	return is, held, errors.Join(err, s.Close(ctx))
}

// Check says whether Run would take c on that ground, as far as can be told
// without touching anything.
func Check(c config.Config, g HandoverState) error {
	if g.Exposed && len(c.Tokens) == 0 {
		return errors.New("reachable from other hosts and no tokens are configured")
	}
	if err := fitStored(c, g.Images); err != nil {
		return err
	}
	if _, err := newBackends(c); err != nil {
		return err
	}
	return errors.Join(checkEnforced(c, g.Enforced), keepsLive(c, g.Live))
}

// keepsLive refuses a configuration that has lost what live runs need: their
// output could not be understood.
func keepsLive(c config.Config, live []LiveBackend) error {
	var errs []error
	for _, l := range live {
		const hint = "(hint: keep it until its runs have ended, or cancel them)"
		if b, ok := c.Backends[l.Name]; !ok {
			errs = append(errs, fmt.Errorf("backends.%s: not configured any more, and run %s of it is live %s", l.Name, l.Run, hint))
		} else if b.Kind != l.Kind {
			errs = append(errs, fmt.Errorf("backends.%s.kind: %q was %q, and run %s of it is live %s", l.Name, b.Kind, l.Kind, l.Run, hint))
		}
	}
	return errors.Join(errs...)
}
