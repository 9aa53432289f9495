package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const serveConfig = `
[limits]
memory_max = "64MiB"
[budget]
memory = "90%"
max_runs = 200
[queue]
max_waiting = 1000
[backends.trivial]
kind = "exec"
command = ["/bin/cat"]
`

// serving measures whole HTTP requests of a trivial CLI, and the daemon's memory.
func serving(binary string, length time.Duration) error {
	d, err := startDaemon(binary, serveConfig)
	if err != nil {
		return err
	}
	defer d.end()
	time.Sleep(2 * time.Second) // let the start's garbage go
	idle := d.resident()
	const streams = 200 // max_runs above
	fmt.Printf("daemon idle: RSS %.1f MB\n", idle/1e6)
	open, err := perStream(d.url, streams, d.resident)
	if err != nil {
		return err
	}
	fmt.Printf("per open stream: %.0f KB (%d streams)\n", (open-idle)/streams/1e3, streams)
	fmt.Printf("HTTP runs of a trivial CLI (exec %s)\n", "/bin/cat")
	base := 0.0
	for _, clients := range []int{1, 16, 64} {
		rate, err := throughput(d.url, clients, length)
		if err != nil {
			return err
		}
		if base == 0 {
			base = rate
		}
		fmt.Printf("  %2d clients: %6.0f runs/s  %.2fx of one client\n", clients, rate, rate/base)
	}
	fmt.Printf("daemon after the load: RSS %.1f MB\n", d.resident()/1e6)
	return nil
}

func ask(ctx context.Context, client *http.Client, url, body string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, "POST", url+"/v1/chat/completions", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	return client.Do(req)
}

// throughput counts finished runs of n clients that each ask again at once.
func throughput(url string, n int, length time.Duration) (float64, error) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer client.CloseIdleConnections()
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	var done atomic.Int64
	var failed atomic.Pointer[string]
	var workers sync.WaitGroup
	begun := time.Now()
	for range n {
		workers.Go(func() {
			for ctx.Err() == nil {
				resp, err := ask(context.Background(), client, url, `{"model":"trivial","messages":[{"role":"user","content":"hello"}]}`)
				if err != nil {
					why := err.Error()
					failed.Store(&why)
					return
				}
				raw, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 || !bytes.Contains(raw, []byte("hello")) {
					why := fmt.Sprintf("status %d: %s", resp.StatusCode, raw)
					failed.Store(&why)
					return
				}
				done.Add(1)
			}
		})
	}
	workers.Wait()
	if why := failed.Load(); why != nil {
		return 0, fmt.Errorf("%d clients: %s", n, *why)
	}
	return float64(done.Load()) / time.Since(begun).Seconds(), nil
}

// perStream opens n streams of sleeping runs and reads the daemon's memory.
func perStream(url string, n int, rss func() float64) (float64, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var open sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		open.Go(func() {
			resp, err := ask(ctx, client, url, `{"model":"demo","stream":true,"messages":[{"role":"user","content":"a /sleep 60"}]}`)
			if err != nil {
				errs <- err
				return
			}
			if resp.StatusCode != 200 {
				errs <- fmt.Errorf("status %d", resp.StatusCode)
			}
			go io.Copy(io.Discard, resp.Body)
		})
	}
	open.Wait()
	time.Sleep(3 * time.Second)
	select {
	case err := <-errs:
		return 0, err
	default:
		return rss(), nil
	}
}
