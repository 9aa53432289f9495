package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"penstock/config"
	"penstock/run/store"
	"penstock/server/listener"
	"penstock/spawn"
)

// Trial tells beforehand why Run would refuse to start, part by part and by Run's
// own code. It leaves nothing behind, and nothing of a daemon that runs is touched.
type Trial struct{ Config config.Config }

// Listen has an error or nil for each address of Config.Listen.
func (t Trial) Listen() []error { return listener.Check(t.Config) }

// State says where the state directory is, or would be made.
func (t Trial) State() (there string, err error) { return store.CheckDir(t.Config.StateDir) }

// Backend is what stops a daemon; a program that isn't there only leaves its
// backend out.
func (t Trial) Backend(name string) error {
	_, err := newBackend(t.Config.Backends[name])
	return err
}

// Cage makes groups where Run would, under a name of their own, takes the
// self-test in them where it is wanted, and removes them. A process that gets a
// scope from the service manager stays in it to its end.
func (t Trial) Cage(ctx context.Context, nap []string) (is spawn.Isolation, held spawn.Enforced, err error) {
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
