package cgroup

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"
)

func TestLimits_Resources(t *testing.T) {
	got := Resources(Limits{
		MemoryMax: 100 << 20, MemoryHigh: 90 << 20, SwapMax: 5 << 20, PidsMax: 9,
		CPUQuota: 150 * time.Millisecond, CPUPeriod: 50 * time.Millisecond, CPUWeight: 7,
	})
	want := &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: new(int64(100 << 20)), Swap: new(int64(105 << 20))},
		Pids:    &specs.LinuxPids{Limit: new(int64(9))},
		CPU:     &specs.LinuxCPU{Quota: new(int64(150_000)), Period: new(uint64(50_000))},
		Unified: map[string]string{"memory.high": "94371840", "cpu.weight": "7"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff(&specs.LinuxResources{}, Resources(Limits{})); d != "" {
		t.Errorf("nothing set (-want +got):\n%s", d)
	}
}

// Whatever we put in OCI form we read out again.
func TestLimits_RoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Limits{
			MemoryMax: rapid.Int64Range(memoryFloor, math.MaxInt64).Draw(t, "memory"),
			SwapMax:   rapid.Int64Range(0, math.MaxInt64).Draw(t, "swap"),
			PidsMax:   rapid.Int64Range(1, 1<<22).Draw(t, "pids"),
			CPUWeight: rapid.Uint64Range(1, 10000).Draw(t, "weight"),
		}
		s, err := parseLimits(Resources(l))
		if err != nil {
			t.Fatal(err)
		}
		swap := min(l.SwapMax, math.MaxInt64-l.MemoryMax)
		if *s.memoryMax != l.MemoryMax || s.swapMax != swap || *s.pidsMax != l.PidsMax || *s.cpuWeight != l.CPUWeight {
			t.Fatalf("%+v came back as %+v", l, s)
		}
	})
}

func TestParseLimits(t *testing.T) {
	const mib = 1 << 20
	mem := func(limit, swap *int64) *specs.LinuxResources {
		return &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: limit, Swap: swap}}
	}
	n := func(v int64) *int64 { return &v }
	cpu := func(q *int64, p *uint64) *specs.LinuxResources {
		return &specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: q, Period: p}}
	}
	file := func(k, v string) *specs.LinuxResources {
		return &specs.LinuxResources{Unified: map[string]string{k: v}}
	}
	for _, tt := range []struct {
		name string
		res  *specs.LinuxResources
		want groupLimits
		bad  string
	}{
		{"nil", nil, groupLimits{}, ""},
		{"no swap named means no swap", mem(n(64*mib), nil), groupLimits{memoryMax: n(64 * mib)}, ""},
		{"swap counts with memory", mem(n(64*mib), n(80*mib)), groupLimits{memoryMax: n(64 * mib), swapMax: 16 * mib}, ""},
		{"swap below memory", mem(n(64*mib), n(60*mib)), groupLimits{}, "memory.swap"},
		{"unlimited swap", mem(n(64*mib), n(-1)), groupLimits{}, "memory.swap"},
		{"swap alone", mem(nil, n(60*mib)), groupLimits{}, "memory.limit"},
		{"memory unlimited", mem(n(-1), nil), groupLimits{}, ""},
		{"memory 0", mem(n(0), nil), groupLimits{}, "memory.max"},
		{"memory below the floor", mem(n(32*mib-1), nil), groupLimits{}, "memory.max"},
		{"quota without a period", cpu(n(20000), nil), groupLimits{cpuMax: "20000 100000"}, ""},
		{"quota unlimited", cpu(n(-1), new(uint64(1000))), groupLimits{}, ""},
		{"quota too small", cpu(n(999), nil), groupLimits{}, "cpu.max"},
		{"period too long", cpu(n(5000), new(uint64(1_000_001))), groupLimits{}, "cpu.max"},
		{"pids unlimited", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: n(-1)}}, groupLimits{}, ""},
		{"pids negative", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: n(-2)}}, groupLimits{}, "pids.max"},
		{"weight 0", file("cpu.weight", "0"), groupLimits{}, "cpu.weight"},
		{"high in words", file("memory.high", "64M"), groupLimits{}, "memory.high"},
		{"another file", file("memory.oom.group", "0"), groupLimits{}, "memory.oom.group"},
		{"reservation", &specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: n(1)}}, groupLimits{}, "reservation"},
		{"cpuset", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}}, groupLimits{}, "cpu.cpus"},
		{"block io", &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{}}, groupLimits{}, "blockIO"},
	} {
		got, err := parseLimits(tt.res)
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%s: error %v, want one about %s", tt.name, err, tt.bad)
			}
			continue
		}
		if d := cmp.Diff(tt.want, got, cmp.AllowUnexported(groupLimits{})); d != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", tt.name, err, d)
		}
	}
}
