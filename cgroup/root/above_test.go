package root

import (
	"os"
	"path/filepath"
	"testing"
)

// tree makes <top>/a/b, groups as far as these files go.
func tree(t *testing.T) (top, leaf string) {
	t.Helper()
	top = t.TempDir()
	leaf = filepath.Join(top, "a", "b")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		t.Fatal(err)
	}
	return top, leaf
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The smallest limit counts, of whichever kind: at memory.high the daemon is
// throttled with its runs.
func TestMemoryAbove(t *testing.T) {
	top, leaf := tree(t)
	if b, ok := memoryAbove(leaf, top); ok {
		t.Errorf("without any limit: %+v", b)
	}
	for _, step := range []struct {
		file, value string
		want        int64
		from        string
	}{
		{leaf + "/memory.max", "max", 0, ""},
		{filepath.Dir(leaf) + "/memory.max", "4096000", 4096000, "a/memory.max"},
		{top + "/memory.max", "8192000", 4096000, "a/memory.max"},
		{top + "/memory.high", "max", 4096000, "a/memory.max"},
		{top + "/memory.high", "3072000", 3072000, "memory.high"},
		{leaf + "/memory.max", "40960", 40960, "a/b/memory.max"},
	} {
		put(t, step.file, step.value)
		b, ok := memoryAbove(leaf, top)
		if ok != (step.want > 0) || b.N != step.want || ok && b.From != filepath.Join(top, step.from) {
			t.Errorf("after %s in %s: %+v, %v, want %d from %s", step.value, step.file, b, ok, step.want, step.from)
		}
	}
}

// What is left to runs is the limit less what others have and the daemon's reserve.
func TestTasksAbove(t *testing.T) {
	top, leaf := tree(t)
	a := filepath.Dir(leaf)
	put(t, a+"/pids.max", "640")
	put(t, a+"/pids.current", "150")
	for _, tt := range []struct {
		inRuns, want int64
	}{{0, 640 - 150 - 64 - 20}, {100, 640 - 50 - 64 - 20}, {1000, 640 - 64 - 20}} {
		var room taskHeadroom
		b, ok := room.remaining(leaf, top, tt.inRuns, nil)
		if !ok || b.N != tt.want || b.From != a+"/pids.max" {
			t.Errorf("with %d in runs: %+v, %v, want %d", tt.inRuns, b, ok, tt.want)
		}
	}
	put(t, a+"/pids.max", "70")
	var room taskHeadroom
	if b, ok := room.remaining(leaf, top, 0, nil); !ok || b.N != 0 {
		t.Errorf("less than the reserve: %+v, %v, want nothing for runs", b, ok)
	}
}

// The tasks of a user are counted by its threads, and those in runs are not others.
func TestUserTasks(t *testing.T) {
	self := func() ([]int, error) { return []int{os.Getpid()}, nil }
	for try := 1; ; try++ { // the user's other processes come and go
		with, without := userTasks(os.Getuid(), nil), userTasks(os.Getuid(), self)
		if with >= 2 && without < with {
			break
		}
		if try == 5 {
			t.Errorf("%d tasks of this user, %d without this process", with, without)
			break
		}
	}
}
