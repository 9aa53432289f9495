package server

import (
	"io"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/cgroup"
)

// allocationsPerRun is what one run may allocate, from its request to its answer: what was
// reached, 649, and a twentieth. It hardly depends on the machine, as times would: 646 to
// 673 where four other programs want its two processors, and then of up to 67 KiB, not 62.
// Raise it only for what a run has to do more.
const (
	allocationsPerRun = 682
	allocatedPerRun   = 70 << 10 // bytes
)

// A run of a trivial program costs the daemon no more than it did.
func TestCost_AllocationsPerRun(t *testing.T) {
	if info, ok := debug.ReadBuildInfo(); !ok || slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		t.Skip("the race detector allocates, too")
	}
	s := serve(t, nil)
	if s.healthNow().Isolation.Memory == cgroup.Kernel {
		t.Skip("the kernel holds limits here: each run writes and reads back a file more for each of them")
	}
	connection := &http.Client{Transport: &http.Transport{}}
	defer connection.CloseIdleConnections()
	ask := func() {
		resp, err := connection.Post(s.url+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"upper","messages":[{"role":"user","content":"hello"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if text, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(text), "HELLO") {
			t.Fatalf("%s, %v", text, err)
		}
	}
	const warm, batches, runs = 5, 40, 5
	for range warm {
		ask()
	}
	allocations, bytes := uint64(math.MaxUint64), uint64(math.MaxUint64)
	for range batches { // the least: others have what the daemon does once a second
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			ask()
		}
		runtime.ReadMemStats(&after)
		allocations = min(allocations, (after.Mallocs-before.Mallocs)/runs)
		bytes = min(bytes, (after.TotalAlloc-before.TotalAlloc)/runs)
	}
	t.Logf("%d allocations of %d bytes a run", allocations, bytes)
	if allocations > allocationsPerRun || bytes > allocatedPerRun {
		t.Errorf("%d allocations of %d bytes a run, want at most %d of %d", allocations, bytes, allocationsPerRun, allocatedPerRun)
	}
}

// Each that reads a run which is silent costs one goroutine, the one that will write to it.
func TestCost_GoroutinesPerReader(t *testing.T) {
	s := serve(t, nil)
	resp, err := s.do(t.Context(), "POST", "/v1/chat/completions", chatBody("sh", "echo a; sleep 300", true, ""), "X-Run-Id", "silent")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := resp.Body.Read(make([]byte, 100)); err != nil { // it has begun
		t.Fatal(err)
	}
	const readers = 20
	before := runtime.NumGoroutine()
	for range readers {
		c := dialed(t, "tcp", strings.TrimPrefix(s.url, "http://"), "GET /v1/runs/silent/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
		if _, err := c.Read(make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
	}
	made := func() int { return runtime.NumGoroutine() - before }
	for end := time.Now().Add(10 * time.Second); made() > readers && time.Now().Before(end); { // net/http begins with two
		time.Sleep(time.Millisecond)
	}
	if n := made(); n > readers+readers/2 {
		t.Errorf("%d goroutines for %d readers", n, readers)
	}
	if end := s.ask("POST", "/v1/runs/silent/cancel", ""); end.status != http.StatusAccepted {
		t.Errorf("cancel: %d", end.status)
	}
}
