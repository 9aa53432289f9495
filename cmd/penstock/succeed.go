package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/server"
	"penstock/spawn"
	"penstock/systemd"
)

// succeed executes the successor in this process's place. Where that fails,
// although it was tried out before, this program takes everything up again: nil
// says that it is ready to.
func (d *service) succeed(heir *successor, sig *signals, left *server.Left) error {
	names := d.given.Names
	if len(names) == 0 {
		for range left.Listeners {
			names = append(names, systemd.OwnSocket)
		}
	}
	files, names := append(left.Listeners, left.Lock), append(names[:len(names):len(names)], systemd.StateLock)

	blockHandled(unix.SIG_BLOCK)
	var pending []syscall.Signal
	if d.stopping = sig.end(); d.stopping {
		pending = append(pending, unix.SIGTERM)
	}
	err := spawn.Successor{
		Path: heir.path, Argv: os.Args, Env: systemd.Environ(os.Environ(), names), Files: files,
		Hold: handled(), Pending: pending,
	}.Exec()
	d.log.Error("the successor can't be executed: serving on without it", "err", err)
	d.note(handoverNote{Outcome: handoverFailed, Message: err.Error()})
	given, err := systemd.GivenOf(files, names)
	if err != nil {
		return fmt.Errorf("take up again what was to be handed over: %w", err)
	}
	d.given, d.retaken = given, true
	d.config.Tokens, d.config.Log = d.reloads.running.Tokens, d.reloads.running.Log
	return nil
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
