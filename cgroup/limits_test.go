package cgroup

import (
	"fmt"
	"maps"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"pgregory.net/rapid"

	"penstock/cgroup/cgroupfs"
)

// filesOf are the kernel's files before and after the start of a run.
func filesOf(l groupLimits) string {
	text := func(all []cgroupfs.Limit) string {
		var words []string
		for _, f := range all {
			words = append(words, f.File+"="+f.Value)
		}
		return strings.Join(words, " ")
	}
	return text(l.before) + "; " + text(l.after)
}

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
		want := fmt.Sprintf("memory.max=%d memory.swap.max=%d memory.oom.group=1 pids.max=%d; cpu.weight=%d", l.MemoryMax, swap, l.PidsMax, l.CPUWeight)
		if *s.memoryMax != l.MemoryMax || *s.pidsMax != l.PidsMax || filesOf(s) != want {
			t.Fatalf("%+v came back as %s", l, filesOf(s))
		}
	})
}

func TestParseLimits(t *testing.T) {
	const mib = 1 << 20
	const none = "memory.swap.max=0 memory.oom.group=1; "
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
		want string
		bad  string
	}{
		{"nil", nil, none, ""},
		{"no swap named means no swap", mem(n(64*mib), nil), "memory.max=67108864 memory.swap.max=0 memory.oom.group=1; ", ""},
		{"swap counts with memory", mem(n(64*mib), n(80*mib)), "memory.max=67108864 memory.swap.max=16777216 memory.oom.group=1; ", ""},
		{"swap below memory", mem(n(64*mib), n(60*mib)), "", "memory.swap"},
		{"unlimited swap", mem(n(64*mib), n(-1)), "", "memory.swap"},
		{"swap alone", mem(nil, n(60*mib)), "", "memory.limit"},
		{"memory unlimited", mem(n(-1), nil), none, ""},
		{"memory 0", mem(n(0), nil), "", "memory.max"},
		{"memory below the floor", mem(n(32*mib-1), nil), "", "memory.max"},
		{"quota without a period", cpu(n(20000), nil), none + "cpu.max=20000 100000", ""},
		{"quota unlimited", cpu(n(-1), new(uint64(1000))), none, ""},
		{"quota too small", cpu(n(999), nil), "", "cpu.max"},
		{"period too long", cpu(n(5000), new(uint64(1_000_001))), "", "cpu.max"},
		{"pids unlimited", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: n(-1)}}, none, ""},
		{"pids negative", &specs.LinuxResources{Pids: &specs.LinuxPids{Limit: n(-2)}}, "", "pids.max"},
		{"both files", &specs.LinuxResources{Unified: map[string]string{"memory.high": "33554432", "cpu.weight": "7"}}, "memory.swap.max=0 memory.oom.group=1 memory.high=33554432; cpu.weight=7", ""},
		{"shares", &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: new(uint64(2))}}, none + "cpu.weight=1", ""},
		{"a weight goes before shares", &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: new(uint64(2))}, Unified: map[string]string{"cpu.weight": "7"}}, none + "cpu.weight=7", ""},
		{"weight 0", file("cpu.weight", "0"), "", "cpu.weight"},
		{"high in words", file("memory.high", "64M"), "", "memory.high"},
		{"another file", file("memory.oom.group", "0"), "", "memory.oom.group"},
		{"reservation", &specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: n(1)}}, "", "reservation"},
		{"cpuset", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}}, "", "cpu.cpus"},
		{"block io", &specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{}}, "", "blockIO"},
	} {
		got, err := parseLimits(tt.res)
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%s: error %v, want one about %s", tt.name, err, tt.bad)
			}
			continue
		}
		if filesOf(got) != tt.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", tt.name, filesOf(got), err, tt.want)
		}
	}
}

// What the kernel holds is written, what the enforcer holds is not.
func TestGroupLimits_Write(t *testing.T) {
	l, err := parseLimits(Resources(Limits{MemoryMax: 64 << 20, MemoryHigh: 60 << 20, SwapMax: 8 << 20, PidsMax: 77}))
	if err != nil {
		t.Fatal(err)
	}
	memory := map[string]string{"memory.max": "67108864", "memory.swap.max": "8388608", "memory.oom.group": "1", "memory.high": "62914560"}
	pids := map[string]string{"pids.max": "77"}
	both := maps.Clone(memory)
	maps.Copy(both, pids)
	for _, tt := range []struct {
		by   Enforced
		want map[string]string
	}{
		{Enforced{Memory: Kernel, Pids: Kernel}, both},
		{Enforced{Memory: Watch, Pids: Kernel}, pids},
		{Enforced{Memory: Kernel, Pids: Watch}, memory},
		{Enforced{Memory: Watch, Pids: Watch}, map[string]string{}},
	} {
		path := t.TempDir()
		for file := range both {
			if err := os.WriteFile(path+"/"+file, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		d, err := cgroupfs.OpenDir(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.write(d, tt.by); err != nil {
			t.Error(err)
		}
		d.Close()
		got := map[string]string{}
		for file := range both {
			if text := content(t, path+"/"+file); text != "" {
				got[file] = text
			}
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("memory by %s, pids by %s (-want +got):\n%s", tt.by.Memory, tt.by.Pids, d)
		}
	}
}
