package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A budget for 500 runs of the smallest cap; what sleeps needs none of it.
const (
	liveRuns     = 500
	scrapes      = 200
	scrapeGoal   = 50 * time.Millisecond
	scrapeConfig = `
[limits]
memory_max = "32MiB"
[budget]
memory = "16000MiB"
max_runs = 500
[queue]
max_waiting = 1000
[backends.rest]
kind = "exec"
command = ["/bin/sleep", "600"]
`
)

// scraping times GET /metrics of a daemon without a run, and with 500 groups
// with a live process each; and what looking at those costs the daemon.
func scraping(binary string, length time.Duration) error {
	d, err := startDaemon(binary, scrapeConfig)
	if err != nil {
		return err
	}
	defer d.end()
	idle, err := d.scrapes()
	if err != nil {
		return err
	}
	leave, err := d.rest(liveRuns)
	defer leave()
	if err != nil {
		return err
	}
	busy, err := d.scrapes()
	if err != nil {
		return err
	}
	if busy.active != liveRuns {
		return fmt.Errorf("%.0f runs are live, not %d", busy.active, liveRuns)
	}
	fmt.Printf("GET /metrics, %d times\n", scrapes)
	idle.print(0)
	busy.print(liveRuns)
	used, err := d.processorTime(length)
	if err != nil {
		return err
	}
	fmt.Printf("daemon beside %d resting runs, unasked: %.1f %% of a processor, RSS %.1f MB\n", liveRuns, 100*used, d.resident()/1e6)
	return nil
}

// scrapeTimes are of many scrapes one after the other.
type scrapeTimes struct {
	median, high, worst time.Duration
	bytes               int
	active              float64
}

func (s scrapeTimes) print(runs int) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	fmt.Printf("  %3d live runs: median %.2f ms, p95 %.2f ms, worst %.2f ms (goal %.0f ms), %d bytes\n",
		runs, ms(s.median), ms(s.high), ms(s.worst), ms(scrapeGoal), s.bytes)
}

func (d *daemon) scrapes() (s scrapeTimes, err error) {
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	took := make([]time.Duration, scrapes)
	var text string
	for i := range took {
		begun := time.Now()
		if text, err = get(client, d.url+"/metrics"); err != nil {
			return s, err
		}
		took[i] = time.Since(begun)
	}
	slices.Sort(took)
	s.median, s.high, s.worst, s.bytes = took[scrapes/2], took[scrapes*95/100], took[scrapes-1], len(text)
	_, after, _ := strings.Cut(text, "\npenstock_runs_active{backend=\"rest\"} ")
	_, err = fmt.Sscan(after, &s.active)
	return s, err
}

// get asks as Prometheus does: for OpenMetrics, compressed.
func get(client *http.Client, url string) (string, error) {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Accept", "application/openmetrics-text;version=1.0.0")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: status %d: %s", url, resp.StatusCode, text)
	}
	return string(text), err
}

// rest opens n streams whose runs sleep, and returns when all have begun.
func (d *daemon) rest(n int) (leave func(), err error) {
	ctx, leave := context.WithCancel(context.Background())
	client := &http.Client{Transport: &http.Transport{}}
	var mu sync.Mutex
	var errs []error
	var openers sync.WaitGroup
	turns := make(chan struct{}, n)
	for range n {
		turns <- struct{}{}
	}
	close(turns)
	for range 16 {
		openers.Go(func() {
			for range turns {
				if err := d.open(ctx, client); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	openers.Wait()
	return leave, errors.Join(errs...)
}

// open returns when the stream says that its run has begun.
func (d *daemon) open(ctx context.Context, client *http.Client) error {
	resp, err := ask(ctx, client, d.url, `{"model":"rest","stream":true,"messages":[{"role":"user","content":"x"}]}`)
	if err != nil {
		return err
	}
	seen := make([]byte, 0, 4096)
	for !strings.Contains(string(seen), "data: ") {
		n, err := resp.Body.Read(seen[len(seen):cap(seen)])
		if seen = seen[:len(seen)+n]; err != nil || len(seen) == cap(seen) {
			return fmt.Errorf("status %d, %q: %w", resp.StatusCode, seen, errors.Join(err, resp.Body.Close()))
		}
	}
	go io.Copy(io.Discard, resp.Body)
	return nil
}

// ticksPerSecond is USER_HZ, which is 100 on every Linux.
const ticksPerSecond = 100

// processorTime is the daemon's share of one processor over a while.
func (d *daemon) processorTime(length time.Duration) (float64, error) {
	before, err := d.ticks()
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	time.Sleep(length)
	after, err := d.ticks()
	return (after - before) / ticksPerSecond / time.Since(begun).Seconds(), err
}

// ticks are utime and stime of proc_pid_stat(5).
func (d *daemon) ticks() (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, err1 := strconv.ParseFloat(fields[11], 64)
	system, err2 := strconv.ParseFloat(fields[12], 64)
	return user + system, errors.Join(err1, err2)
}
