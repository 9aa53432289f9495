package cgroup

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
	"penstock/internal/hostinfo"
)

// Usage is a live reading of one group; nil is unknown. It costs six files: a caller that asks
// often asks for CPUTime, which tells whether anything has happened.
type Usage struct {
	MemoryBytes *uint64 // memory.current, or the enforcer's last sum
	Pids        *uint64 // tasks: pids.current, or the enforcer's last sum
	CPUUsec     *uint64 // cpu.stat: usage_usec
	IOBytes     *uint64 // io.stat: rbytes + wbytes
	// MemoryHighEvents and MemoryMaxEvents are memory.events: high and max.
	MemoryHighEvents, MemoryMaxEvents *uint64
}

// TreeUsage is a live reading of all runs together; nil is unknown.
type TreeUsage struct {
	Usage
	Processes int // entries of cgroup.procs, as of each group's last Usage
	// PSI "some"/"full" avg10 in percent.
	MemorySomeAvg10, MemoryFullAvg10, CPUSomeAvg10 *float64
}

// Usage is a live reading of the group. A group that is gone is an error.
func (g *Group) Usage() (Usage, error) {
	r := &cgroupfs.StatReader{Dir: g.dir}
	u, err := readUsage(r)
	if s, ok := g.history.last(); ok {
		u.fill(s)
	}
	if err == nil {
		_, err = g.countProcesses()
	}
	return u, errors.Join(err, r.Err())
}

// CPUTime is the processor time that the group has used, in microseconds: one read of
// a descriptor that stays open. A group that is gone is an error.
func (g *Group) CPUTime() (uint64, error) { return g.dir.CPUTime() }

func (g *Group) countProcesses() (int, error) {
	pids, err := g.dir.Procs()
	n := len(pids)
	g.processes.Store(&n)
	return n, err
}

// CPUWait is how long at least one task of the group was ready and had no processor,
// in microseconds since the group was made (cpu.pressure: some; PSI, 4.20). Nil is
// unknown.
func (g *Group) CPUWait() *uint64 {
	r := &cgroupfs.StatReader{Dir: g.dir}
	return r.Pressure("cpu.pressure").Some.TotalUsec()
}

// Usage reads all runs together.
func (t *Tree) Usage() (TreeUsage, error) {
	read := &cgroupfs.StatReader{Dir: t.runs}
	one, err := readUsage(read)
	if err != nil {
		return TreeUsage{}, err
	}
	u := TreeUsage{Usage: one}
	u.Processes, err = t.processes()
	mem, cpu := read.Pressure("memory.pressure"), read.Pressure("cpu.pressure")
	u.MemorySomeAvg10, u.MemoryFullAvg10, u.CPUSomeAvg10 = mem.Some.Percent(), mem.Full.Percent(), cpu.Some.Percent()
	if sum, any := t.enforcedSum(); any || (t.enforcer != nil && u.Processes == 0) {
		u.fill(sum)
	}
	return u, errors.Join(err, read.Err())
}

// processes counts those of all groups. One that is not asked for its Usage any more, or
// not yet, is asked itself.
func (t *Tree) processes() (sum int, err error) {
	var errs []error
	for _, g := range t.liveGroups() {
		if n := g.processes.Load(); n != nil && !t.isLeaked(g) {
			sum += *n
			continue
		}
		n, err := g.countProcesses()
		sum += n
		errs = append(errs, err)
	}
	return sum, errors.Join(errs...)
}

// enforcedSum is what the enforcer last saw of all groups; any is false where it saw none.
func (t *Tree) enforcedSum() (sum sample, any bool) {
	if t.enforcer == nil {
		return sum, false
	}
	for _, g := range t.liveGroups() {
		if s, ok := g.history.last(); ok {
			sum.memory += s.memory
			sum.tasks += s.tasks
			any = true
		}
	}
	return sum, any
}

// FilesInMemory is what all runs together, also finished ones, have in memory
// file systems (memory.stat: shmem), in bytes. It outlives a run's group, and
// without swap nothing but the deletion of the files gives it free. Nil is unknown.
func (t *Tree) FilesInMemory() (*uint64, error) {
	return t.keyedValue("memory.stat", "shmem")
}

// DyingGroups counts the removed groups that the kernel still keeps for pages
// charged to them (cgroup.stat: nr_dying_descendants, 4.14). Nil is unknown.
func (t *Tree) DyingGroups() (*uint64, error) {
	return t.keyedValue("cgroup.stat", "nr_dying_descendants")
}

// keyedValue reads one line of a flat keyed file of all runs together.
func (t *Tree) keyedValue(file, key string) (*uint64, error) {
	m, err := cgroupfs.Parse(t.runs, file, cgroupfs.ParseKeyed)
	if cgroupfs.IsAbsent(err) {
		return nil, nil
	}
	return cgroupfs.Keyed(m).Get(key), err
}

// fill takes from the enforcer what the kernel didn't tell.
func (u *Usage) fill(s sample) {
	if u.MemoryBytes == nil {
		u.MemoryBytes = &s.memory
	}
	if u.Pids == nil {
		u.Pids = &s.tasks
	}
}

// readUsage fails where the group is gone: every group has a cpu.stat, and without
// it the absence of the others would tell nothing.
func readUsage(r *cgroupfs.StatReader) (Usage, error) {
	cpu, err := r.Dir.CPUTime()
	if err != nil {
		return Usage{}, err
	}
	u := Usage{MemoryBytes: r.Value("memory.current"), Pids: r.Value("pids.current"), CPUUsec: &cpu}
	if io := cgroupfs.Optional(r, "io.stat", cgroupfs.ParseIOStat); io != nil {
		sum := io.Read + io.Written
		u.IOBytes = &sum
	}
	events := r.Keyed("memory.events")
	u.MemoryHighEvents, u.MemoryMaxEvents = events.Get("high"), events.Get("max")
	return u, nil
}

// StorageIO sums what the group's live processes have read from and written to
// storage, in bytes (proc_pid_io(5)). It is for groups without the io controller,
// such as those of systemd's user manager, and dearer than reading io.stat. It
// falls when a process ends.
func (g *Group) StorageIO() (uint64, error) {
	pids, err := g.dir.Procs()
	if err != nil {
		return 0, err
	}
	var sum uint64
	for _, pid := range pids {
		n, err := hostinfo.Host.StorageBytes(pid)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}
