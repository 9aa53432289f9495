// Package powercut takes the power from a machine under durable runs, again and
// again, and looks what the next daemon makes of what the disk still has. For
// the lab: the disk is one that forgets what was not flushed (internal/disktest).
//
// PENSTOCK_POWERCUTS is the number of cuts, PENSTOCK_POWERCUTS_SEED replays them.
package powercut

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/internal/disktest"
	"penstock/test/daemon"
)

const (
	shortRow = 5 // cuts, where no number is asked for
	patience = 60 * time.Second
)

// The device keeps what was synced and may forget the rest: else the cuts below
// prove nothing.
func TestDeviceForgets(t *testing.T) {
	v := disktest.NewVolatile(t)
	for name, sync := range map[string]bool{"kept": true, "forgotten": false} {
		f, err := os.Create(filepath.Join(v.Dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(name); err != nil {
			t.Fatal(err)
		}
		if sync {
			syncAll(t, f, v.Dir)
		}
		f.Close()
	}
	after, _ := v.Cut(rand.New(rand.NewPCG(1, 1)))
	after()
	if text, err := os.ReadFile(filepath.Join(v.Dir, "kept")); string(text) != "kept" {
		t.Errorf("what was synced: %q, %v", text, err)
	}
	if text, err := os.ReadFile(filepath.Join(v.Dir, "forgotten")); string(text) == "forgotten" {
		t.Errorf("what was not synced is still there: %v", err)
	}
}

func syncAll(t *testing.T, f *os.File, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, file := range []*os.File{f, d} {
		if err := file.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

// Whatever a power cut leaves of the state directory, the next daemon starts;
// every durable run that was born, or of which a client was told anything, has
// its record and is told as what it was; none is run twice; no name is taken by
// a run that there isn't; and what never started has left nothing.
func TestPowerCuts(t *testing.T) {
	cuts, seed := environment(t)
	m := turnOn(t)
	t.Logf("seed %d, %d cuts", seed, cuts)
	begun := time.Now()
	for n := range cuts {
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		m.work(r, n)
		time.Sleep(time.Duration(r.IntN(2500)) * time.Millisecond)
		m.cut(t, r)
		m.inspect(t, r)
	}
	t.Logf("%d cuts in %.0f s, %d blocks forgotten: %v", cuts, time.Since(begun).Seconds(), m.forgotten, m.tally)
	t.Logf("faults: %v", m.faults)
}

// machine is what loses its power.
type machine struct {
	disk      *disktest.Volatile
	daemon    *daemon.Daemon
	root      string // of its groups
	births    string // a directory that outlives the power: each birth adds a line to its run's file
	power     *power
	jobs      []*job // since the last cut
	old       []*job
	tally     map[string]int
	faults    map[string]int
	forgotten int
}

// power is on from one start to the next cut. What is noted under mu was so
// while it was on.
type power struct {
	mu      sync.Mutex
	off     bool
	clients sync.WaitGroup
}

// note calls f if the power is still on.
func (p *power) note(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.off {
		f()
	}
}

func turnOn(t *testing.T) *machine {
	t.Helper()
	volatile := disktest.NewVolatile(t) // or skips
	// Pages go to the device as soon as may be: what is there unflushed at a cut is
	// there by halves.
	for name, value := range map[string]string{"dirty_expire_centisecs": "1", "dirty_writeback_centisecs": "2"} {
		if err := os.WriteFile("/proc/sys/vm/"+name, []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	m := &machine{disk: volatile, births: t.TempDir(), power: new(power), tally: map[string]int{}, faults: map[string]int{}}
	m.daemon = daemon.Start(t, daemon.Options{Bare: true, Config: fmt.Sprintf(config, filepath.Join(m.disk.Dir, "state"))})
	m.root = m.daemon.Root()
	return m
}

const config = `
state_dir = %q
drain_timeout = "1s"
[log]
level = "warn"
[budget]
memory = "100%%"
[limits]
memory_max = "48MiB"
grace = "500ms"
[backends.lines]
kind = "jsonl"
command = ["/bin/sh"]
`

// cut takes the power and gives it back: what came after the moment in which the
// disk was looked at has never happened.
func (m *machine) cut(t *testing.T, r *rand.Rand) {
	t.Helper()
	var back func()
	births := map[string]int{}
	m.power.note(func() {
		m.power.off = true
		for _, j := range m.jobs {
			j.births = m.born(j.id)
			births[j.id] = j.births
		}
		after, forgotten := m.disk.Cut(r)
		m.forgotten += forgotten
		back = after
	})
	if err := m.daemon.Cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-m.daemon.Exited()
	m.killGroups(t)
	m.power.clients.Wait()
	for id, n := range births {
		err := os.Truncate(filepath.Join(m.births, id), int64(n*len(birth)))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	back()
	m.power = new(power)
	m.daemon = m.daemon.Restart(t)
}

// birth is the line that a run adds to its file.
const birth = "born\n"

func (m *machine) born(id string) int {
	info, err := os.Stat(filepath.Join(m.births, id))
	if err != nil {
		return 0
	}
	return int(info.Size()) / len(birth)
}

// killGroups ends all that lives in the daemon's tree and takes the tree away.
func (m *machine) killGroups(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, "cgroup.kill"), []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Eventually(patience, func() error {
		var dirs []string
		err := filepath.WalkDir(m.root, func(path string, e os.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				dirs = append(dirs, path)
			}
			return err
		})
		for i := range dirs {
			if err == nil {
				err = unix.Rmdir(dirs[len(dirs)-1-i])
			}
		}
		return err
	}); err != nil {
		t.Fatalf("%s: %v", m.root, err)
	}
}

func environment(t *testing.T) (cuts int, seed uint64) {
	t.Helper()
	cuts, seed = shortRow, uint64(time.Now().UnixNano())
	var err error
	if s := os.Getenv("PENSTOCK_POWERCUTS"); s != "" {
		if cuts, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	if s := os.Getenv("PENSTOCK_POWERCUTS_SEED"); s != "" {
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return cuts, seed
}
