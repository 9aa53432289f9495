package root

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"penstock/cgroup/cgroupfs"
	"penstock/internal/procinfo"
)

// Bound is a limit that comes from above all runs.
type Bound struct {
	N    int64  // bytes, or tasks
	From string // the file it stands in
}

// MemoryAbove is the smallest memory.max or memory.high over this process: its own
// group's or that of any group above it we can see, in bytes. At memory.high
// the kernel slows the daemon as much as its runs. It is not ok where none is
// set or none can be read (no cgroup v2, no memory controller).
func MemoryAbove() (Bound, bool) {
	here, err := cgroupfs.FindLocation()
	if err != nil {
		return Bound{}, false
	}
	return memoryAbove(here.Own, here.Mount.Point)
}

func memoryAbove(path, top string) (least Bound, ok bool) {
	for _, dir := range ancestors(path, top) {
		for _, file := range []string{dir + "/memory.max", dir + "/memory.high"} {
			if v, err := cgroupfs.ParseFile(file, cgroupfs.ParseValue); err == nil && v < math.MaxInt64 && (!ok || int64(v) < least.N) {
				least, ok = Bound{int64(v), file}, true
			}
		}
	}
	return least, ok
}

// ancestors are a group and all above it, up to the mount's.
func ancestors(path, top string) []string {
	all := []string{path}
	for path != top && len(path) > len(top) {
		path = filepath.Dir(path)
		all = append(all, path)
	}
	return all
}

// reservedTasks is what stays free of a limit on tasks for the daemon and all
// else below it: the Go runtime aborts where it can't make a thread. A daemon
// needs few more than it has (32 streams: 12 threads), the part of the limit is
// for others that share a large one.
func reservedTasks(limit int64) int64 { return 64 + limit/32 }

// TasksAbove is how many tasks all runs of a daemon in this place may have
// together, if it were started now, and which limit says so.
func TasksAbove() (Bound, bool) {
	here, err := cgroupfs.FindLocation()
	if err != nil {
		return Bound{}, false
	}
	t := taskHeadroom{}
	return t.remaining(here.Own, here.Mount.Point, 0, nil)
}

// taskHeadroom tells what the limits above leave to all runs together: the smallest
// pids.max, the user's RLIMIT_NPROC and what the kernel has at all, each less
// what others have of it and the reserve.
type taskHeadroom struct {
	scanned time.Time
	others  int64 // tasks of our user outside of runs
}

// scanEvery is how often all processes are looked through for those of our user.
const scanEvery = 10 * time.Second

// remaining is given the group from which to look up, and the number of tasks and the
// processes in runs. It is not ok where nothing limits tasks.
func (t *taskHeadroom) remaining(path, top string, inRuns int64, runs func() ([]int, error)) (least Bound, ok bool) {
	consider := func(limit, others int64, from string) {
		if n := max(0, limit-others-reservedTasks(limit)); !ok || n < least.N {
			least, ok = Bound{n, from}, true
		}
	}
	for _, dir := range ancestors(path, top) {
		limit, err := cgroupfs.ParseFile(dir+"/pids.max", cgroupfs.ParseValue)
		if err != nil || limit > math.MaxInt32 {
			continue
		}
		if now, err := cgroupfs.ParseFile(dir+"/pids.current", cgroupfs.ParseValue); err == nil {
			consider(int64(limit), max(0, int64(now)-inRuns), dir+"/pids.max")
		}
	}
	if all, err := procinfo.Host.Tasks(); err == nil {
		for _, file := range []string{"/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"} {
			if limit, err := cgroupfs.ParseFile(file, cgroupfs.ParseValue); err == nil && limit <= math.MaxInt32 {
				consider(int64(limit), max(0, all-inRuns), file)
			}
		}
	}
	if limit, ok := nprocLimit(); ok {
		if now := time.Now(); now.Sub(t.scanned) >= scanEvery {
			t.others, t.scanned = userTasks(os.Getuid(), runs), now
		}
		consider(limit, t.others, "RLIMIT_NPROC")
	}
	return least, ok
}

// nprocLimit is RLIMIT_NPROC, which doesn't hold for root.
func nprocLimit() (int64, bool) {
	var l unix.Rlimit
	if os.Geteuid() == 0 || unix.Getrlimit(unix.RLIMIT_NPROC, &l) != nil || l.Cur > math.MaxInt32 {
		return 0, false
	}
	return int64(l.Cur), true
}

// userTasks counts a user's tasks that are not in runs, whose processes are asked
// for last: one that is born meanwhile is not counted.
func userTasks(uid int, runs func() ([]int, error)) (sum int64) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	tasks := map[int]int64{}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := procinfo.Host.Status(pid); err == nil && s.UID == uid {
			tasks[pid] = int64(s.Threads)
		}
	}
	var in []int
	if runs != nil {
		in, _ = runs() // unknown ones count as others
	}
	for pid, n := range tasks {
		if _, found := slices.BinarySearch(in, pid); !found {
			sum += n
		}
	}
	return sum
}

// Above is what limits all runs together; nil is nothing.
type Above struct {
	Memory *Bound // the smallest memory.max or memory.high over the root
	Tasks  *Bound // what limits above leave to runs, see TasksAbove
}
