package hostinfo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fake is a proc file system of one file.
func fake(t *testing.T, file, text string) FS {
	t.Helper()
	path := filepath.Join(t.TempDir(), file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return FS(path[:len(path)-len(file)-1])
}

func TestGroup(t *testing.T) {
	if got, err := fake(t, "7/cgroup", "4:memory:/x\n0::/system.slice/a:b.service\n").Group(7); got != "/system.slice/a:b.service" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"4:memory:/x\n", "", "0:/x\n", "0:name=x:/x\n"} {
		if got, err := fake(t, "7/cgroup", text).Group(7); err == nil {
			t.Errorf("%q: %q, want an error", text, got)
		}
	}
	own, err := Host.Group(os.Getpid())
	if err != nil {
		t.Error(err)
	}
	if got, err := Host.OwnGroup(); got != own || err != nil {
		t.Errorf("own group %q, %v, want %q", got, err, own)
	}
	// In another pid namespace's file system this process has another number.
	p := fake(t, "7/cgroup", "0::/mine\n")
	if err := os.Symlink("7", filepath.Join(string(p), "self")); err != nil {
		t.Fatal(err)
	}
	if got, err := p.OwnGroup(); got != "/mine" || err != nil {
		t.Errorf("own group in another namespace's: %q, %v", got, err)
	}
}

func TestGone(t *testing.T) {
	const gone = 1<<22 + 1 // above any pid_max
	_, group := Host.Group(gone)
	_, bytes := Host.StorageBytes(gone)
	for name, err := range map[string]error{"cgroup": group, "io": bytes} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a process that is gone: %v, want ErrNotExist", name, err)
		}
	}
}

func TestStorageBytes(t *testing.T) {
	for _, row := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"rchar: 9\nwchar: 8\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n", 12288, true},
		{"rchar: 9\n", 0, false},
		{"read_bytes: x\n", 0, false},
		{"", 0, false},
	} {
		if got, err := fake(t, "7/io", row.text).StorageBytes(7); row.ok && got != row.want || (err == nil) != row.ok {
			t.Errorf("%q: %d, %v", row.text, got, err)
		}
	}
}

func TestSwapAreas(t *testing.T) {
	head := "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	for text, want := range map[string]int{"": 0, head: 0, head + "/swap\\040file file 1 0 -2\n/dev/sda2 partition 2 0 -3\n": 2} {
		if got, err := fake(t, "swaps", text).SwapAreas(); got != want || err != nil {
			t.Errorf("%q: %d, %v, want %d", text, got, err, want)
		}
	}
	if _, err := FS(t.TempDir()).SwapAreas(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a kernel without swap: %v, want ErrNotExist", err)
	}
}

func TestBootOptions(t *testing.T) {
	got, err := fake(t, "cmdline", "quiet cgroup_disable=memory,pids\n").BootOptions()
	if d := cmp.Diff([]string{"quiet", "cgroup_disable=memory,pids"}, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}
