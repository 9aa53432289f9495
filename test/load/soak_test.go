package load

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"penstock/test/daemon"
)

const soakSlots = 8

// PENSTOCK_SOAK short runs: after as many as the daemon keeps records of,
// nothing it has grows. What was sampled goes to PENSTOCK_SOAK_TSV, for a plot.
func TestSoak(t *testing.T) {
	runs, _ := strconv.Atoi(os.Getenv("PENSTOCK_SOAK"))
	if runs == 0 {
		t.Skip("this takes minutes: PENSTOCK_SOAK, how many runs, is not set (the acceptance figure is 100000)")
	}
	if runs < 2*records {
		t.Fatalf("PENSTOCK_SOAK=%d: at least %d show anything", runs, 2*records)
	}
	d := daemon.Start(t, daemon.Options{Config: fmt.Sprintf(`
[log]
level = "warn"
[limits]
memory_max = "64MiB"
[budget]
memory = "100%%"
max_runs = %d
`, soakSlots)})
	s := &soak{t: t, d: d, begun: time.Now()}
	s.open()
	var next atomic.Int64
	var clients sync.WaitGroup
	for range soakSlots {
		clients.Go(func() {
			for n := next.Add(1); n <= int64(runs) && !t.Failed(); n = next.Add(1) {
				a, err := d.Chat(context.Background(), daemon.Body("demo", "a short one", map[string]any{"stream": n%2 == 0}), nil)
				if err != nil || a.Error != nil || a.Finish != "stop" {
					t.Errorf("run %d: %v %+v", n, err, a)
					return
				}
				s.done.Add(1)
			}
		})
	}
	ended := make(chan struct{})
	go func() { defer close(ended); clients.Wait() }()
	for last := false; !last; {
		select {
		case <-ended:
			last = true
		case <-time.After(time.Second):
		}
		s.sample()
	}
	if t.Failed() {
		return
	}
	t.Logf("%d runs in %v, %.1f a second", runs, time.Since(s.begun).Round(time.Second), float64(runs)/time.Since(s.begun).Seconds())
	s.flat()
	s.idle()
}

// sample is one line of the plot's data.
type sample struct {
	runs int64
	of   map[string]float64
}

// figures are what must not grow, by how much they may between the first third
// of the samples, when all records are full, and the last: a share and a rest.
var figures = []struct {
	name  string
	share float64
	rest  float64
}{
	{"rss_bytes", 0.10, 1 << 20},
	{"fds", 0.10, 2},
	{"goroutines", 0.10, 2},
	{"threads", 0.10, 3}, // Go never gives one back
	{"inotify_watches", 0, 4},
	{"state_bytes", 0.05, 0},
	{"state_files", 0.05, 0},
	{"groups", 0, 2},
	{"dying_groups", 0.25, 16},
}

type soak struct {
	t     *testing.T
	d     *daemon.Daemon
	begun time.Time
	done  atomic.Int64
	tsv   *os.File
	all   []sample
}

func (s *soak) open() {
	path := os.Getenv("PENSTOCK_SOAK_TSV")
	if path == "" {
		path = filepath.Join(daemon.Top(s.t), "test", ".cache", "soak.tsv")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		s.t.Fatal(err)
	}
	s.tsv = f
	s.t.Cleanup(func() { f.Close() })
	s.t.Logf("samples: %s", path)
	fmt.Fprint(f, "seconds\truns")
	for _, figure := range figures {
		fmt.Fprint(f, "\t", figure.name)
	}
	fmt.Fprintln(f)
}

func (s *soak) sample() {
	pid := s.d.Cmd.Process.Pid
	one := sample{s.done.Load(), map[string]float64{
		"rss_bytes": float64(resident(s.t, pid)), "threads": float64(field(s.t, fmt.Sprintf("/proc/%d/status", pid), "Threads:")),
		"fds": float64(openFiles(s.t, pid)), "goroutines": s.d.Metric("go_goroutines"),
		"inotify_watches": watches(pid), "groups": float64(len(s.d.Groups())), "dying_groups": dying(s.d.Root()),
	}}
	one.of["state_bytes"], one.of["state_files"] = stored(filepath.Join(s.d.Dir, "state"))
	s.all = append(s.all, one)
	fmt.Fprintf(s.tsv, "%.0f\t%d", time.Since(s.begun).Seconds(), one.runs)
	for _, figure := range figures {
		fmt.Fprintf(s.tsv, "\t%.0f", one.of[figure.name])
	}
	fmt.Fprintln(s.tsv)
}

// flat compares the first third after the records are full with the last.
func (s *soak) flat() {
	s.t.Helper()
	full := slices.DeleteFunc(slices.Clone(s.all), func(one sample) bool { return one.runs < records*5/4 })
	third := len(full) / 3
	if third < 3 {
		s.t.Fatalf("only %d samples with all records kept", len(full))
	}
	for _, figure := range figures {
		of := func(some []sample) float64 {
			var n []float64
			for _, one := range some {
				n = append(n, one.of[figure.name])
			}
			return middle(n)
		}
		first, last := of(full[:third]), of(full[len(full)-third:])
		s.t.Logf("%-16s %12.0f in the first third, %12.0f in the last", figure.name, first, last)
		if last > first*(1+figure.share)+figure.rest {
			s.t.Errorf("%s grew from %.0f to %.0f", figure.name, first, last)
		}
	}
}

// idle: when all is done nothing of a run is held but its record.
func (s *soak) idle() {
	s.t.Helper()
	http.DefaultClient.CloseIdleConnections()
	if err := daemon.Eventually(5*time.Second, func() error {
		if n := watches(s.d.Cmd.Process.Pid); n > 0 {
			return fmt.Errorf("%v inotify watches", n)
		}
		if groups := s.d.Groups(); len(groups) > 0 {
			return fmt.Errorf("groups %v", groups)
		}
		return nil
	}); err != nil {
		s.t.Error(err)
	}
}

// watches counts the inotify watches of a process (proc(5), fdinfo).
func watches(pid int) (n float64) {
	infos, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	for _, name := range infos {
		text, _ := os.ReadFile(name) // one that is closed meanwhile has none
		n += float64(strings.Count(string(text), "inotify wd:"))
	}
	return n
}

// stored is what a directory holds; what is removed meanwhile doesn't count.
func stored(dir string) (bytes, files float64) {
	_ = filepath.WalkDir(dir, func(_ string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return nil
		}
		if info, err := e.Info(); err == nil {
			bytes, files = bytes+float64(info.Size()), files+1
		}
		return nil
	})
	return bytes, files
}

// dying are the removed groups that the kernel still has memory of (cgroup.stat).
func dying(root string) float64 {
	f, err := os.Open(filepath.Join(root, "cgroup.stat"))
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if n, ok := strings.CutPrefix(lines.Text(), "nr_dying_descendants "); ok {
			v, _ := strconv.ParseFloat(n, 64)
			return v
		}
	}
	return 0
}
