package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"penstock/cgroup"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
)

const historyConfig = runsConfig + `
[keep]
age = "1000h"
runs = 1000000
size = "1TiB"
`

// empty is the anchor: the same daemon without a history.
const empty = "empty"

// past is a daemon that is started again and again on the same state.
type past struct {
	side
	dir string
}

// history keeps 100 000 finished runs. They are written as daemons before the index
// wrote them, and taken in by a first start that isn't timed.
func (b *bench) history() error {
	all, err := places()
	for _, p := range all {
		defer p.remove()
	}
	if err != nil {
		return err
	}
	// The last is on tmpfs where there is one: to make and delete half a million files
	// takes a disk minutes, and no figure here is the disk's.
	return b.historyOn(all[len(all)-1])
}

func (b *bench) historyOn(on place) error {
	dir := on.dir
	all := []past{{side{empty, b.penstock}, filepath.Join(dir, empty)}}
	for _, s := range b.sides() {
		p := past{s, filepath.Join(dir, s.name)}
		if err := writeRuns(filepath.Join(p.dir, "state"), b.kept); err != nil {
			return err
		}
		all = append(all, p)
	}
	of := fmt.Sprintf("/fs=%s/kept=%d", on.kind, b.kept)
	h := historyFigures{
		start: b.figure("HistoryStart"+of, "ms", against(empty, "<= 1000 ms")),
		rss:   b.figure("HistoryRSS"+of, "MiB", against(empty, "<= 48 MiB")),
		list:  b.figure("HistoryList"+of, "ms", against(empty, "<= 5 ms")),
		more:  b.figure("HistoryOneMore"+of, "ms/run", against(empty, "as empty")),
	}
	var sides []contender
	for _, p := range all {
		s, err := p.start()
		if err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		b.note("%s: first start %.2f s, then busy for %.1f s", p.name, s.took.Seconds(), quiet(s).Seconds())
		s.end()
		sides = append(sides, contender{p.name, func(int) error { return h.measure(p) }})
	}
	return inTurn((b.rounds+1)/2, sides)
}

func (p past) start() (*server, error) { return startPenstock(p.binary, p.dir, historyConfig) }

type historyFigures struct{ start, rss, list, more *figure }

const (
	lists    = 5
	moreRuns = 50
)

// measure starts the daemon once more, and asks it.
func (h historyFigures) measure(p past) error {
	s, err := p.start()
	if err != nil {
		return err
	}
	defer s.end()
	h.start.add(p.name, milliseconds(s.took))
	quiet(s)
	bytes, err := resident(s.pid())
	if err != nil {
		return err
	}
	h.rss.add(p.name, bytes/(1<<20))
	client := newClient(1)
	defer client.CloseIdleConnections()
	begun := time.Now()
	for range lists {
		if _, err := s.get(client, "/v1/runs?limit=20"); err != nil {
			return err
		}
	}
	h.list.add(p.name, milliseconds(time.Since(begun))/lists)
	one := target{daemon{p.name, s}, completions, chat("trivial", "hello", false), "hello"}
	used, err := processorOf(s.pid(), func() error {
		for range moreRuns {
			if err := one.ask(client); err != nil {
				return err
			}
		}
		return nil
	})
	h.more.add(p.name, used*1000/moreRuns)
	return err
}

// quiet waits until a server needs next to nothing, and tells how long that took.
func quiet(s *server) time.Duration {
	begun := time.Now()
	for time.Since(begun) < time.Minute {
		used, err := processorOf(s.pid(), func() error { time.Sleep(time.Second); return nil })
		if err != nil || used < 0.03 {
			break
		}
	}
	return time.Since(begun) - time.Second
}

// writeRuns makes a state directory with finished runs, a millisecond apart.
func writeRuns(state string, n int) error {
	kept := store.Places(state)[0]
	for _, dir := range []string{filepath.Join(state, "runs"), filepath.Join(state, "sessions"), filepath.Join(kept, "runs"), filepath.Join(kept, "sessions")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(kept, "format"), []byte("2\n"), 0o600); err != nil {
		return err
	}
	begun := time.Now().Add(-time.Duration(n+1) * time.Millisecond)
	const writers = 4
	return together(writers, func(first int) error {
		for i := first; i < n; i += writers {
			r := finishedRun(i, begun.Add(time.Duration(i)*time.Millisecond))
			if err := writeRun(filepath.Join(state, "runs", r.ID), filepath.Join(kept, "runs", r.ID), r); err != nil {
				return err
			}
		}
		return nil
	})
}

func writeRun(own, kept string, r store.Record) error {
	record, err := json.Marshal(r)
	if err != nil {
		return err
	}
	for _, dir := range []string{own, kept} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	for path, text := range map[string][]byte{
		filepath.Join(own, store.SpoolName): []byte("hello"), filepath.Join(own, store.StderrName): nil,
		filepath.Join(kept, "run.json"): append(record, '\n'),
	} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func finishedRun(i int, at time.Time) store.Record {
	started, exited, ended := at.Add(time.Millisecond), at.Add(4*time.Millisecond), at.Add(5*time.Millisecond)
	status := 0
	enforced := cgroup.Enforced{Memory: cgroup.Watch, Pids: cgroup.Watch}
	return store.Record{
		ID: fmt.Sprintf("run_01%024d", i), Object: store.Object, State: store.Finished, Cause: outcome.Completed,
		Client: "anonymous", Backend: "trivial", Model: "trivial",
		Created: at, Started: &started, Exited: &exited, Ended: &ended,
		Limits:  spawn.Resources(spawn.Limits{MemoryMax: 64 << 20, PidsMax: 512}),
		Receipt: &cgroup.Receipt{EnforcedBy: enforced}, EnforcedBy: enforced,
		Exit: &status, Finish: "stop", OutputBytes: 5,
	}
}
