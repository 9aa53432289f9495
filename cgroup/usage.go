package cgroup

// Usage is a live reading of one group or of the whole tree; nil is unknown.
type Usage struct {
	MemoryBytes *uint64 // memory.current, or the watch's last sum
	Pids        *uint64 // tasks: pids.current, else processes counted
	Processes   int     // entries of cgroup.procs, whole subtree
	CPUUsec     *uint64 // cpu.stat: usage_usec
	IOBytes     *uint64 // io.stat: rbytes + wbytes
	// PSI "some"/"full" avg10 in percent.
	MemorySomeAvg10, MemoryFullAvg10, CPUSomeAvg10 *float64
}

// Usage is a live reading of the group. A group that is gone is an error.
func (g *Group) Usage() (Usage, error) {
	u, err := readUsage(g.dir)
	if s, ok := g.seen.last(); ok {
		u.fill(s)
	}
	return u, err
}

// Usage reads all runs together.
func (r *Root) Usage() (Usage, error) {
	u, err := readUsage(r.runs)
	if r.watch == nil {
		return u, err
	}
	var sum sample
	var any bool
	for _, g := range r.live() {
		if s, ok := g.seen.last(); ok {
			sum.memory += s.memory
			sum.tasks += s.tasks
			any = true
		}
	}
	if any || u.Processes == 0 {
		u.fill(sum)
	}
	return u, err
}

// FilesInMemory is what all runs together, also finished ones, have in memory
// file systems (memory.stat: shmem), in bytes. It outlives a run's group, and
// without swap nothing but the deletion of the files gives it free. Nil is unknown.
func (r *Root) FilesInMemory() (*uint64, error) {
	return r.one("memory.stat", "shmem")
}

// DyingGroups counts the removed groups that the kernel still keeps for pages
// charged to them (cgroup.stat: nr_dying_descendants, 4.14). Nil is unknown.
func (r *Root) DyingGroups() (*uint64, error) {
	return r.one("cgroup.stat", "nr_dying_descendants")
}

// one reads one line of a flat keyed file of all runs together.
func (r *Root) one(file, key string) (*uint64, error) {
	m, err := parseIn(r.runs, file, parseFlat)
	if absent(err) {
		return nil, nil
	}
	return flat(m).get(key), err
}

// fill takes from the watch what the kernel didn't tell.
func (u *Usage) fill(s sample) {
	if u.MemoryBytes == nil {
		u.MemoryBytes = &s.memory
	}
	if u.Pids == nil {
		u.Pids = &s.tasks
	}
}

func readUsage(d *dir) (Usage, error) {
	if _, err := d.populated(); err != nil {
		return Usage{}, err
	}
	r := &readings{d: d}
	pids, err := d.procs()
	if err != nil {
		r.errs = append(r.errs, err)
	}
	u := Usage{
		MemoryBytes: r.value("memory.current"),
		Pids:        r.value("pids.current"),
		Processes:   len(pids),
		CPUUsec:     r.flat("cpu.stat").get("usage_usec"),
	}
	if io := parsed(r, "io.stat", parseIOStat); io != nil {
		sum := io.read + io.written
		u.IOBytes = &sum
	}
	mem, cpu := r.pressure("memory.pressure"), r.pressure("cpu.pressure")
	u.MemorySomeAvg10, u.MemoryFullAvg10, u.CPUSomeAvg10 = mem.some.percent(), mem.full.percent(), cpu.some.percent()
	return u, r.err()
}
