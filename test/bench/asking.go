package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// newClient has a connection for each of n that ask at once.
func newClient(n int) *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
}

// chat is the body of a request to Penstock.
func chat(model, prompt string, stream bool) string {
	body, _ := json.Marshal(map[string]any{ // strings always can be
		"model": model, "stream": stream, "messages": []map[string]string{{"role": "user", "content": prompt}},
	})
	return string(body)
}

const completions = "/v1/chat/completions"

func post(ctx context.Context, client *http.Client, url, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return client.Do(req)
}

// target is a server with what it is asked for, and what its answer must have.
type target struct {
	daemon
	path, body, want string
}

// contest is what daemons and anchors are asked for in turn; end is for all that were
// started.
type contest struct {
	targets []target
	ends    []func()
}

// withNaive starts the daemons, and the naive handler of a program. What was started is in
// the contest after an error, too.
func (b *bench) withNaive(dir, config, program string, ours, bare target) (*contest, error) {
	daemons, end, err := b.startDaemons(dir, config)
	c := &contest{ends: []func(){end}}
	if err != nil {
		return c, err
	}
	for _, ours.daemon = range daemons {
		c.targets = append(c.targets, ours)
	}
	anchor, err := startAnchor("naive", program)
	if err != nil {
		return c, err
	}
	c.enter(naive, anchor, bare)
	return c, nil
}

func (c *contest) enter(name string, s *server, asked target) {
	asked.daemon = daemon{name, s}
	c.targets, c.ends = append(c.targets, asked), append(c.ends, s.end)
}

func (c *contest) end() {
	for _, end := range c.ends {
		end()
	}
}

func (t target) ask(client *http.Client) error {
	resp, err := post(context.Background(), client, t.url+t.path, t.body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && (resp.StatusCode != 200 || !bytes.Contains(raw, []byte(t.want))) {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, raw)
	}
	return err
}

// load lets n clients ask, each again as soon as it has its answer.
func (t target) load(n int, length time.Duration) (perSecond, processor float64, err error) {
	client := newClient(n)
	defer client.CloseIdleConnections()
	var done atomic.Int64
	begun := time.Now()
	used, err := processorOf(t.pid(), func() error {
		return together(n, func(int) error {
			for time.Since(begun) < length {
				if err := t.ask(client); err != nil {
					return err
				}
				done.Add(1)
			}
			return nil
		})
	})
	runs := float64(done.Load())
	return runs / time.Since(begun).Seconds(), used / runs, err
}

// together calls f n times at once, with a number each.
func together(n int, f func(i int) error) error {
	var all sync.WaitGroup
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// openStreams opens n streams, a few at a time, and returns when all of their runs
// have begun.
func (s *server) openStreams(ctx context.Context, client *http.Client, n int, body string) error {
	var turn atomic.Int64
	return together(min(n, 16), func(int) error {
		for turn.Add(1) <= int64(n) {
			if err := s.openStream(ctx, client, body); err != nil {
				return err
			}
		}
		return nil
	})
}

// openStream returns when the stream's first event is there.
func (s *server) openStream(ctx context.Context, client *http.Client, body string) error {
	resp, err := post(ctx, client, s.url+completions, body)
	if err != nil {
		return err
	}
	seen := make([]byte, 0, 4096)
	for !bytes.Contains(seen, []byte("data: ")) {
		n, err := resp.Body.Read(seen[len(seen):cap(seen)])
		if seen = seen[:len(seen)+n]; err != nil || len(seen) == cap(seen) {
			return fmt.Errorf("status %d, %q: %w", resp.StatusCode, seen, errors.Join(err, resp.Body.Close()))
		}
	}
	go func() { _, _ = io.Copy(io.Discard, resp.Body) }()
	return nil
}

// get reads a whole reply.
func (s *server) get(client *http.Client, path string) ([]byte, error) {
	resp, err := client.Get(s.url + path)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: status %d: %s", path, resp.StatusCode, raw)
	}
	return raw, err
}
