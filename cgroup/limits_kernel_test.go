package cgroup

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
	"penstock/internal/hostinfo"
)

// The kernel ends the whole group when one process passes the limit, and the
// receipt says so.
func TestGroup_OOMKillsAll(t *testing.T) {
	const limit = 48 << 20
	g := newGroup(t, kernelRoot(t), "oom", Resources(Limits{MemoryMax: limit}))
	bystander := born(t, g.FD(), "sleep").ready(t)
	hog := born(t, g.FD(), "alloc", "200")
	for name, v := range map[string]*victim{"hog": hog, "bystander": bystander} {
		if s := waitSignal(t, v); s != unix.SIGKILL {
			t.Errorf("%s ended by %v, want SIGKILL by the kernel", name, s)
		}
	}
	if err := g.WaitEmpty(within(t)); err != nil {
		t.Error(err)
	}
	rec := end(t, g)
	for name, v := range map[string]*uint64{"oom": rec.OOMEvents, "oom_kill": rec.OOMKills, "oom_group_kill": rec.OOMGroupKills} {
		if v == nil || *v == 0 {
			t.Errorf("receipt %s: %v, want 1 or more", name, v)
		}
	}
	if rec.MemoryMaxBytes == nil || *rec.MemoryMaxBytes != limit {
		t.Errorf("limit in the receipt %v, want %d", rec.MemoryMaxBytes, limit)
	}
	// What a task still touches while it is being killed is charged by force.
	if p := rec.MemoryPeakBytes; p == nil || *p < limit/2 || *p > limit+1<<20 {
		t.Errorf("peak in the receipt %v, want near %d and not over", p, limit)
	}
	if len(rec.Estimated) > 0 || rec.Exceeded != "" || rec.EnforcedBy.Memory != Kernel {
		t.Errorf("receipt claims an estimate: %+v", rec)
	}
}

// An adopted group tells its cap as the kernel has it, whatever was written
// down of it.
func TestGroup_AdoptedLimits(t *testing.T) {
	r := kernelRoot(t)
	const limit = 48 << 20
	left := newGroup(t, r, "left", Resources(Limits{MemoryMax: limit}))
	free := newGroup(t, r, "free", nil)
	if n, ok := free.MemoryMax(); ok {
		t.Errorf("no cap reads as %d", n)
	}
	r.unregister(left)
	g, err := r.Adopt("left", Resources(Limits{MemoryMax: 4 * limit}))
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := g.MemoryMax(); !ok || n != limit {
		t.Errorf("cap %d (%v), want %d", n, ok, limit)
	}
	end(t, g)
	end(t, free)
	if err := left.dir.Close(); err != nil {
		t.Error(err)
	}
}

// Whose memory had run out is told from the kernel's counters of each level.
func TestReceipt_OOMLevel(t *testing.T) {
	const budget = 96 << 20
	for _, row := range []struct {
		want     OOMAt
		own, top int64 // memory.max of the group, and of the root above all runs
	}{{OOMOwn, 48 << 20, 0}, {OOMRuns, 256 << 20, 0}, {OOMHost, 256 << 20, 64 << 20}} {
		t.Run(string(row.want), func(t *testing.T) {
			r := kernelRoot(t, func(o *Options) { o.Budget = budget })
			if row.top > 0 {
				if err := os.WriteFile(r.Path()+"/memory.max", []byte(fmt.Sprint(row.top)), 0); err != nil {
					t.Fatal(err)
				}
				defer os.WriteFile(r.Path()+"/memory.max", []byte("max"), 0)
			}
			g := newGroup(t, r, "oom", Resources(Limits{MemoryMax: row.own}))
			hog := born(t, g.FD(), "alloc", "200")
			preferred(t, hog)
			if s := waitSignal(t, hog); s != unix.SIGKILL {
				t.Fatalf("hog ended by %v, want SIGKILL by the kernel", s)
			}
			if rec := end(t, g); rec.OOMAt != row.want {
				t.Errorf("memory ran out at %q, want %q: oom %d, kills %d", rec.OOMAt, row.want, *rec.OOMEvents, *rec.OOMKills)
			}
		})
	}
}

// preferred makes a victim the kernel's first choice, as spawn does: where the
// root is short of memory the daemon, here the test, is one too.
func preferred(t *testing.T, v *victim) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", v.Process.Pid), []byte("1000"), 0); err != nil {
		t.Fatal(err)
	}
}

func TestReceipt_OOMAt(t *testing.T) {
	n := func(v uint64) *uint64 { return &v }
	for _, row := range []struct {
		name        string
		rec         Receipt
		before, now *uint64
		want        OOMAt
	}{
		{"no kill", Receipt{OOMEvents: n(0), OOMKills: n(0)}, n(0), n(3), ""},
		{"refused, not killed", Receipt{OOMEvents: n(2), OOMKills: n(0)}, n(0), n(0), ""},
		{"own", Receipt{OOMEvents: n(1), OOMKills: n(2)}, n(0), n(1), OOMOwn},
		{"budget", Receipt{OOMEvents: n(0), OOMKills: n(2)}, n(4), n(5), OOMRuns},
		{"an old shortage of the budget", Receipt{OOMEvents: n(0), OOMKills: n(2)}, n(5), n(5), OOMHost},
		{"counters unknown", Receipt{OOMEvents: n(0), OOMKills: n(2)}, nil, n(5), ""},
		{"kernel tells nothing", Receipt{}, nil, nil, ""},
	} {
		if got := row.rec.oomAt(row.before, row.now); got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// waitSignal waits with a bound: a bystander the kernel spared sleeps a minute.
func waitSignal(t *testing.T, v *victim) unix.Signal {
	t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { v.Process.Signal(unix.SIGTERM) })
	defer timer.Stop()
	return v.signal(t)
}

// With swap on the host a group would pass its cap there unless it is denied.
func TestGroup_NoSwap(t *testing.T) {
	r := kernelRoot(t)
	if areas, err := hostinfo.Host.SwapAreas(); err != nil || areas == 0 {
		skipLacking(t, "a swap area")
	}
	// The root denies swap to all; here each group must on its own.
	if err := r.runs.Write("memory.swap.max", "max"); err != nil {
		t.Fatal(err)
	}
	g := newGroup(t, r, "swap", Resources(Limits{MemoryMax: 48 << 20}))
	if s := waitSignal(t, born(t, g.FD(), "alloc", "64")); s != unix.SIGKILL {
		t.Errorf("64 MiB in a cap of 48 MiB ended by %v, want SIGKILL by the kernel", s)
	}
	if rec := end(t, g); rec.OOMKills == nil || *rec.OOMKills == 0 {
		t.Errorf("oom_kill %v, want some", rec.OOMKills)
	}
}

func TestGroup_PidsMax(t *testing.T) {
	const limit = 24
	g := newGroup(t, kernelRoot(t), "pids", Resources(Limits{PidsMax: limit}))
	born(t, g.FD(), "fork", "60").ready(t)
	rec := end(t, g)
	if rec.PidsRefused == nil || *rec.PidsRefused == 0 {
		t.Errorf("refused forks %v, want some", rec.PidsRefused)
	}
	if rec.PidsMax == nil || *rec.PidsMax != limit {
		t.Errorf("limit in the receipt %v, want %d", rec.PidsMax, limit)
	}
	if p := rec.PidsPeak; p == nil || *p > limit || *p < limit/2 {
		t.Errorf("peak %v, want near %d and not over", p, limit)
	}
}

// What the kernel of the lab tells is in the receipt, and nothing is invented.
func TestReceipt_Complete(t *testing.T) {
	g := newGroup(t, kernelRoot(t), "receipt", Resources(Limits{MemoryMax: 64 << 20, PidsMax: 50}))
	born(t, g.FD(), "alloc", "20").ready(t)
	rec := end(t, g)
	for name, v := range map[string]*uint64{
		"memory high events": rec.MemoryHighEvents, "memory max events": rec.MemoryMaxEvents, "memory peak": rec.MemoryPeakBytes, "memory max": rec.MemoryMaxBytes, "oom": rec.OOMEvents,
		"oom kills": rec.OOMKills, "oom group kills": rec.OOMGroupKills, "pids peak": rec.PidsPeak,
		"pids max": rec.PidsMax, "pids refused": rec.PidsRefused, "cpu user": rec.CPUUserUsec,
		"cpu system": rec.CPUSystemUsec, "cpu throttled": rec.CPUThrottledUsec,
		"io read": rec.IOReadBytes, "io written": rec.IOWriteBytes,
	} {
		if v == nil {
			t.Errorf("%s is missing", name)
		}
	}
	if *rec.OOMKills != 0 || *rec.PidsRefused != 0 {
		t.Errorf("an honest run reads as %d OOM kills and %d refused forks", *rec.OOMKills, *rec.PidsRefused)
	}
	if p := *rec.MemoryPeakBytes; p < 20<<20 || p > 64<<20 {
		t.Errorf("peak %d, want 20 MiB and some", p)
	}
	if _, err := os.Stat("/proc/pressure/memory"); err != nil && rec.MemoryPressureUsec != nil {
		t.Errorf("pressure %d on a kernel without it", *rec.MemoryPressureUsec)
	}
}

// A run that is slowed at memory.high, or that reads more than fits, says so.
func TestReceipt_MemoryEvents(t *testing.T) {
	r := kernelRoot(t)
	for _, tt := range []struct {
		name   string
		limits Limits
		of     func(Receipt, Usage) [2]*uint64
	}{
		{"high", Limits{MemoryMax: 256 << 20, MemoryHigh: 32 << 20}, func(r Receipt, u Usage) [2]*uint64 {
			return [2]*uint64{r.MemoryHighEvents, u.MemoryHighEvents}
		}},
		{"max", Limits{MemoryMax: 32 << 20}, func(r Receipt, u Usage) [2]*uint64 {
			return [2]*uint64{r.MemoryMaxEvents, u.MemoryMaxEvents}
		}},
	} {
		g := newGroup(t, r, tt.name, Resources(tt.limits))
		c := born(t, g.FD(), "alloc", "64")
		if tt.name == "high" {
			for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if u, err := g.Usage(); err == nil && positive(u.MemoryHighEvents) {
					break
				}
			}
		} else {
			waitSignal(t, c) // killed: it can't have so much
		}
		u, err := g.Usage()
		if err != nil {
			t.Fatal(err)
		}
		rec := end(t, g)
		if got := tt.of(rec, u); !positive(got[0]) || !positive(got[1]) {
			t.Errorf("%s: receipt %v, usage %v: want events", tt.name, got[0], got[1])
		}
	}
}

// Page cache that is deleted before the group goes keeps no dying group behind;
// left in place, each run keeps one.
func TestTree_DyingGroups(t *testing.T) {
	const runs = 12
	for _, tt := range []struct {
		name     string
		deleted  bool
		min, max uint64
	}{
		// A run or two may be the first to read a page of the test binary.
		{"deleted", true, 0, 3},
		{"left", false, runs - 2, runs},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := kernelRoot(t)
			dir := t.TempDir()
			for i := range runs {
				g := newGroup(t, r, fmt.Sprintf("run-%d", i), nil)
				file := fmt.Sprintf("%s/scratch-%d", dir, i)
				if err := born(t, g.FD(), "write", file).Wait(); err != nil {
					t.Fatal(err)
				}
				if tt.deleted {
					if err := os.Remove(file); err != nil {
						t.Fatal(err)
					}
				}
				end(t, g)
			}
			// The kernel frees them a grace period later.
			ctx := within(t)
			for {
				m, err := cgroupfs.ParseFile(r.runs.Path+"/cgroup.stat", cgroupfs.ParseKeyed)
				if err != nil {
					t.Fatal(err)
				}
				n := m["nr_dying_descendants"]
				if n <= tt.max {
					if n < tt.min {
						t.Errorf("%d dying groups after %d runs, want %d: what does this test tell?", n, runs, tt.min)
					}
					return
				}
				if ctx.Err() != nil {
					t.Fatalf("%d dying groups after %d runs stay, want %d at most", n, runs, tt.max)
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
}

// Files that a run leaves in a tmpfs stay charged to all runs when its group has
// gone, until they are deleted.
func TestTree_FilesInMemory(t *testing.T) {
	r := kernelRoot(t)
	g := newGroup(t, r, "leaver", Resources(Limits{MemoryMax: 64 << 20}))
	f, err := os.CreateTemp("/dev/shm", "penstock-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if s := waitSignal(t, born(t, g.FD(), "write", f.Name())); s != 0 {
		t.Fatalf("writer ended by %v", s)
	}
	end(t, g)
	if n, err := r.FilesInMemory(); err != nil || n == nil || *n < 256<<10 {
		t.Errorf("files in memory after the run: %v, %v, want 256 KiB", n, err)
	}
	if err := os.Truncate(f.Name(), 0); err != nil {
		t.Fatal(err)
	}
	if n, err := r.FilesInMemory(); err != nil || n == nil || *n >= 256<<10 {
		t.Errorf("files in memory after their deletion: %v, %v", n, err)
	}
}

// Huge pages are outside of memory limits: where the kernel can hold them, runs get none.
func TestTree_NoHugePages(t *testing.T) {
	r := openRoot(t)
	files, err := filepath.Glob(r.Path() + "/runs/hugetlb.*.max")
	if err != nil {
		t.Fatal(err)
	}
	var held int
	for _, file := range files {
		if strings.HasSuffix(file, ".rsvd.max") {
			continue
		}
		held++
		if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != "0" {
			t.Errorf("%s: %q, %v", filepath.Base(file), b, err)
		}
	}
	if held == 0 {
		t.Skip("this machine's cgroup v2 has no hugetlb controller")
	}
}

// A log line tells a receipt as the API does: the same names, the same figures,
// and of neither more than is known.
func TestReceipt_LogValue(t *testing.T) {
	full := Receipt{OOMAt: OOMRuns, Exceeded: "budget", Estimated: []string{"memory"}, EnforcedBy: Enforced{Memory: Kernel, Pids: Watch, Kill: Kernel, CPU: Kernel}}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Type() == reflect.TypeFor[*uint64]() {
			n := uint64(i + 1)
			f.Set(reflect.ValueOf(&n))
		}
	}
	for name, rec := range map[string]Receipt{"full": full, "nothing known": {}} {
		var line bytes.Buffer
		slog.New(slog.NewJSONHandler(&line, nil)).Info("x", "receipt", rec)
		var got struct{ Receipt map[string]any }
		if err := json.Unmarshal(line.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Receipt); diff != "" {
			t.Errorf("%s (-JSON +log):\n%s", name, diff)
		}
	}
}
