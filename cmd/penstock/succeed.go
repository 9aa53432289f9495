package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/server"
	"penstock/spawn"
	"penstock/systemd"
)

// errStopped is why a successor isn't needed any more.
var errStopped = errors.New("a stop came in between")

// succeed executes the successor in this process's place. Where that fails,
// although it was tried out before, this program takes everything up again: nil
// says that it is ready to.
func (d *service) succeed(heir *successor, sig *signals, left *server.HandedOver) error {
	names := d.given.Names
	if len(names) == 0 {
		for range left.Listeners {
			names = append(names, systemd.OwnSocket)
		}
	}
	files, names := append(left.Listeners, left.Lock), append(names[:len(names):len(names)], systemd.StateLock)

	err := errStopped
	if d.stopping = sig.end(); !d.stopping {
		// Go leaves these ignored until somebody wants them. A SIGTERM from now on
		// until then ends the process, and its runs are as after a crash.
		signal.Ignore(unix.SIGHUP, unix.SIGINT)
		d.app.flush()
		err = execute(heir.path, files, names, left.Origin)
	}
	d.log.Error("the successor was not executed: serving on without it", "err", err)
	d.note(handoverNote{Outcome: handoverFailed, Message: err.Error()})
	given, err := systemd.InheritFiles(files, names)
	if err != nil {
		return fmt.Errorf("take up again what was to be handed over: %w", err)
	}
	d.given, d.origin, d.retaken = given, &left.Origin, true
	d.config.Tokens, d.config.Log = d.reloads.inForce()
	return nil
}

// execute returns only when it failed.
func execute(path string, files []*os.File, names []string, origin spawn.Origin) error {
	word, err := json.Marshal(origin)
	if err != nil {
		return err
	}
	return spawn.Reexec{
		Path: path, Argv: os.Args, Env: systemd.Environ(os.Environ(), names, string(word)), Files: files,
		BlockSignals: []syscall.Signal{unix.SIGUSR2},
	}.Exec()
}

// originIn reads what execute has told; nil where a daemon of an earlier version
// told nothing.
func originIn(word string) (*spawn.Origin, error) {
	if word == "" {
		return nil, nil
	}
	o := new(spawn.Origin)
	if err := json.Unmarshal([]byte(word), o); err != nil {
		return nil, fmt.Errorf("what the daemon before this one says of its groups: %q: %w", word, err)
	}
	return o, nil
}

// received is told when a daemon that was handed everything serves it.
func (d *service) received() {
	if d.given.Lock == nil || d.retaken {
		return
	}
	d.log.Info("handed over", "version", d.build.Version)
	d.note(handoverNote{Outcome: handoverDone})
}

// note writes down how a handover went, for who has asked for it.
func (d *service) note(n handoverNote) {
	n.Version, n.At = d.build.Version, time.Now()
	report(d.log, n.write(d.config.StateDir))
}
