package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"penstock/test/daemon"
)

const (
	// crowd is how many read one run; one more reads a byte a second.
	crowd = 99
	// growthMax is in bytes, for all of them. A reader has a connection with 10 KiB of
	// net/http's buffers, two goroutines with 10 KiB of stack, and, while there is
	// something to be read, a buffer and an event.
	growthMax = 8e6
)

// A hundred readers of one durable run, attached by either way and at different
// moments, one of them nearly standing still: the daemon stays as large as it
// is, the CLI ends when it would alone, and all others have every byte in time.
func TestHundredReaders(t *testing.T) {
	// A machine with other work can keep readers from coming in time, and the
	// collector from its turn; a daemon that holds too much does so in each round.
	var err error
	for range 3 {
		if err = readTogether(t); err == nil || t.Failed() {
			return
		}
		t.Log(err)
	}
	t.Error(err)
}

// readTogether is one round, with a daemon of its own. An error is what may be
// the machine's fault.
func readTogether(t *testing.T) error {
	t.Helper()
	pieces := 12 // of 128 KiB, each a quarter of a second
	if os.Getenv("PENSTOCK_LONG") != "" {
		pieces = 64
	}
	d := daemon.Start(t, daemon.Options{Config: "[log]\nlevel = \"warn\"\n[limits]\nmemory_max = \"128MiB\"\n"})
	body := daemon.Body("demo", strings.Repeat("/spew 128KiB /sleep 250ms ", pieces)+"end", map[string]any{
		"stream": true, "stream_options": map[string]any{"include_usage": true},
	})
	defer d.Stop()
	// One reader alone, twice: the second has what is made once behind it.
	var lone reading
	for _, id := range []string{"lone-1", "lone-2"} {
		if lone = attach(t, d, id, body); lone.err != nil {
			t.Fatal(lone.err)
		}
	}
	alone := lived(t, d, "lone-2")
	http.DefaultClient.CloseIdleConnections()
	before := slices.Max(sampled(t, d.Cmd.Process.Pid, 2*time.Second))

	var readers sync.WaitGroup
	readings := make([]reading, crowd)
	readers.Go(func() { readings[0] = attach(t, d, "many", body) })
	if err := daemon.Eventually(10*time.Second, func() error {
		if status, _, err := d.Get("/v1/runs/many"); err != nil || status != http.StatusOK {
			return fmt.Errorf("status %d: %v", status, err)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	slow := crawl(t, d, "many")
	step := time.Duration(pieces) * 250 * time.Millisecond / 2 / crowd
	for i := 1; i < crowd; i++ {
		readers.Go(func() {
			time.Sleep(time.Duration(i) * step) // the last comes when half is out
			if i%2 == 0 {
				readings[i] = attach(t, d, "many", body)
			} else {
				readings[i] = replay(d, "many")
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); readers.Wait() }()
	var peak int64
	for reading := true; reading; {
		select {
		case <-done:
			reading = false
		case <-time.After(100 * time.Millisecond):
		}
		peak = max(peak, resident(t, d.Cmd.Process.Pid))
	}

	together := lived(t, d, "many")
	attached := 1 // the slow one
	var last time.Duration
	for i, r := range readings {
		if r.err != nil || r.sum != readings[0].sum || r.bytes < int64(pieces)<<17 {
			t.Errorf("reader %d: %d bytes, sum %x, want %x: %v", i, r.bytes, r.sum[:4], readings[0].sum[:4], r.err)
		}
		last = max(last, r.after)
		if r.attached {
			attached++
		}
	}
	growth := float64(peak) - before
	t.Logf("RSS %.1f MiB before, %.1f MiB at most: grown by %.1f MiB", before/(1<<20), float64(peak)/(1<<20), growth/(1<<20))
	t.Logf("the run took %v alone, %v with %d readers; a reader had its last byte %v after the run's end alone, the last of them %v", alone, together, crowd+1, lone.after, last)
	t.Logf("the slow one had %d bytes", slow.stop())
	switch {
	case attached <= crowd:
		return fmt.Errorf("only %d readers were attached at once", attached)
	case growth > growthMax:
		return fmt.Errorf("RSS grew by %.1f MB", growth/1e6)
	// A CLI that waits for the slow reader would end in weeks; a busy machine is slower too.
	case together > 2*alone+5*time.Second:
		return fmt.Errorf("the run took %v, alone %v", together, alone)
	case last > 20*time.Second+10*lone.after:
		return fmt.Errorf("a reader had its last byte %v after the run's end", last)
	}
	return nil
}

// reading is what one reader saw.
type reading struct {
	bytes    int64 // of its text
	sum      [sha256.Size]byte
	after    time.Duration // the run's end to the last byte
	attached bool          // before that end
	err      error
}

// attach asks under the run's name.
func attach(t *testing.T, d *daemon.Daemon, id string, body map[string]any) reading {
	t.Helper()
	req := d.Request(context.Background(), body)
	req.Header.Set("X-Run-Id", id)
	return read(d, req, id)
}

// replay reads the run's events.
func replay(d *daemon.Daemon, id string) reading {
	req, err := http.NewRequest(http.MethodGet, d.URL+"/v1/runs/"+id+"/events", nil)
	if err != nil {
		return reading{err: err}
	}
	return read(d, req, id)
}

func read(d *daemon.Daemon, req *http.Request, id string) (r reading) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return reading{err: err}
	}
	begun := time.Now()
	defer resp.Body.Close()
	lines := bufio.NewReaderSize(resp.Body, 32<<10)
	sum := sha256.New()
	var tail []byte
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			return reading{err: err}
		}
		data, ok := bytes.CutPrefix(line, []byte("data: "))
		if !ok {
			continue
		}
		tail = append(tail[:0], line...)
		// How it is cut into chunks is each reader's own. Escapes stand for single
		// characters, so the text as it is written is the same for all.
		_, after, ok := bytes.Cut(data, []byte(`"delta":{"content":"`))
		if text, _, closed := bytes.Cut(after, []byte(`"},"finish_reason"`)); ok && closed {
			sum.Write(text)
			r.bytes += int64(len(text))
		}
	}
	at := time.Now()
	r.sum = [sha256.Size]byte(sum.Sum(nil))
	if string(tail) != "data: [DONE]\n" || resp.StatusCode != http.StatusOK {
		r.err = fmt.Errorf("status %d, ends with %q", resp.StatusCode, tail)
		return r
	}
	_, ended, err := times(d, id)
	r.after, r.attached, r.err = at.Sub(ended), begun.Before(ended), err
	return r
}

// times are those of a run's record, which has them when its leader has gone.
func times(d *daemon.Daemon, id string) (started, ended time.Time, err error) {
	err = daemon.Eventually(10*time.Second, func() error {
		resp, err := http.Get(d.URL + "/v1/runs/" + id)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var record struct {
			Cause   string
			Started time.Time `json:"started_at"`
			Exited  time.Time `json:"exited_at"`
		}
		err = json.NewDecoder(resp.Body).Decode(&record)
		if err == nil && (record.Cause != "completed" || record.Exited.IsZero()) {
			err = fmt.Errorf("run %s: cause %q, exited at %v", id, record.Cause, record.Exited)
		}
		started, ended = record.Started, record.Exited
		return err
	})
	return started, ended, err
}

// lived is from the birth of a run's leader to its exit.
func lived(t *testing.T, d *daemon.Daemon, id string) time.Duration {
	t.Helper()
	started, exited, err := times(d, id)
	if err != nil {
		t.Fatal(err)
	}
	return exited.Sub(started)
}

// crawler reads a byte a second, through a receive buffer as small as it can be.
type crawler struct {
	conn net.Conn
	got  chan int
}

func crawl(t *testing.T, d *daemon.Daemon, id string) *crawler {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).SetReadBuffer(1); err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(conn, "GET /v1/runs/%s/events HTTP/1.1\r\nHost: localhost\r\n\r\n", id); err != nil {
		t.Fatal(err)
	}
	c := &crawler{conn, make(chan int)}
	go func() {
		n, one := 0, make([]byte, 1)
		for {
			if _, err := conn.Read(one); err != nil {
				break
			}
			n++
			select {
			case <-time.After(time.Second):
				continue
			case c.got <- n:
			}
			return
		}
		c.got <- n
	}()
	t.Cleanup(func() { conn.Close() })
	return c
}

// stop tells how many bytes it had.
func (c *crawler) stop() int {
	defer c.conn.Close()
	return <-c.got
}
