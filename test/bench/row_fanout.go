package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

const bareFanOut = "bare fan-out"

// audiences are numbers of readers with the events they get in a round, at a pace
// that leaves the servers time between two: then each event is a write of its own.
var audiences = []struct {
	readers, events int
	pace            string
}{{1, 10_000, "300us"}, {10, 5_000, "600us"}, {100, 2_000, "4ms"}}

// fanOut sends the lines of one command to many readers, as server-sent events, and
// takes the processor time for each that was read.
func (b *bench) fanOut() error {
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	command, _ := json.Marshal([]string{self, "anchor", "tick"}) // strings always can be
	daemons, end, err := b.startDaemons(dir, fmt.Sprintf("[backends.tick]\nkind = \"exec\"\ncommand = %s\n", command))
	defer end()
	if err != nil {
		return err
	}
	bare, err := startAnchor("fanout")
	if err != nil {
		return err
	}
	defer bare.end()
	for _, a := range audiences {
		of := fmt.Sprintf("/readers=%d/events=%d", a.readers, a.events)
		used := b.figure("Fanout"+of, "us/delivery", against(bareFanOut, "<= 1.2x"))
		late := b.figure("FanoutP99"+of, "ms", against(bareFanOut, "<= 2x"))
		asked := fmt.Sprintf("%d %s\n", a.events, a.pace)
		measure := func(d daemon, stream func(*audience) error) contender {
			return contender{d.name, func(int) error {
				readers := newAudience(d.server, a.readers, a.events)
				seconds, err := processorOf(d.pid(), func() error { return stream(readers) })
				if err != nil {
					return err
				}
				used.add(d.name, seconds*1e6/float64(a.readers*a.events))
				late.add(d.name, readers.p99())
				return nil
			}}
		}
		all := []contender{measure(daemon{bareFanOut, bare}, func(r *audience) error { return r.ofBare(asked) })}
		for _, d := range daemons {
			all = append(all, measure(d, func(r *audience) error { return r.ofRun(asked) }))
		}
		if err := inTurn((b.rounds+1)/2, all); err != nil {
			return err
		}
	}
	return nil
}

// audience reads one run's events, many times at once.
type audience struct {
	*server
	readers, events int
	late            [][]time.Duration // by reader, of each event
}

func newAudience(s *server, readers, events int) *audience {
	return &audience{s, readers, events, make([][]time.Duration, readers)}
}

// ofRun starts a run of Penstock's and reads it with all but one through /events.
func (a *audience) ofRun(asked string) error {
	client := newClient(a.readers)
	defer client.CloseIdleConnections()
	resp, err := post(context.Background(), client, a.url+completions, chat("tick", asked, true))
	if err != nil {
		return err
	}
	id := resp.Header.Get("X-Run-Id")
	return together(a.readers, func(i int) error {
		if i == 0 {
			return a.read(0, resp.Body)
		}
		return a.follow(i, "/v1/runs/"+id+"/events")
	})
}

// ofBare has all readers there before the command is started.
func (a *audience) ofBare(asked string) error {
	client := newClient(1)
	defer client.CloseIdleConnections()
	ready := make(chan error, 1)
	go func() {
		time.Sleep(300 * time.Millisecond)
		resp, err := post(context.Background(), client, a.url+"/start", asked)
		if err == nil {
			err = resp.Body.Close()
		}
		ready <- err
	}()
	err := together(a.readers, func(i int) error { return a.follow(i, "/events") })
	return errors.Join(err, <-ready)
}

func (a *audience) follow(i int, path string) error {
	client := newClient(1)
	defer client.CloseIdleConnections()
	resp, err := client.Get(a.url + path)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return errors.Join(fmt.Errorf("%s: %s", path, resp.Status), resp.Body.Close())
	}
	return a.read(i, resp.Body)
}

// read takes every event's age. A line of tick's is its time, and several of them
// may share a chunk.
func (a *audience) read(i int, body io.ReadCloser) error {
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(make([]byte, 64<<10), 1<<20)
	late := make([]time.Duration, 0, a.events)
	for lines.Scan() {
		_, text, found := bytes.Cut(lines.Bytes(), []byte(`"content":"`))
		if !found {
			continue
		}
		read := time.Now().UnixNano()
		text, _, _ = bytes.Cut(text, []byte(`"`))
		for written := range bytes.SplitSeq(text, []byte(`\n`)) {
			if at, err := strconv.ParseInt(string(written), 10, 64); err == nil {
				late = append(late, time.Duration(read-at))
			}
		}
	}
	a.late[i] = late
	if len(late) != a.events {
		return fmt.Errorf("reader %d: %d events instead of %d: %w", i, len(late), a.events, lines.Err())
	}
	return nil
}

// p99 is the age in milliseconds that one event in a hundred exceeds.
func (a *audience) p99() float64 {
	all := slices.Concat(a.late...)
	slices.Sort(all)
	return milliseconds(all[len(all)*99/100])
}
