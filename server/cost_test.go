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

	"penstock/cgroup"
)

// allocationsPerRun is what one run may allocate, from its request to its answer: what was
// reached, and a twentieth. It hardly depends on the machine, as times would: 652 where
// nothing else runs, and 712 where a run takes so long that its watch begins. Raise it only
// for what a run has to do more.
const (
	allocationsPerRun = 748
	allocatedPerRun   = 86 << 10 // bytes
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
	const warm, batches, runs = 5, 20, 5
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
