package procinfo

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// fake is a proc file system of one file.
func fake(t *testing.T, file, text string) FS {
	t.Helper()
	p := FS(t.TempDir())
	if err := os.MkdirAll(filepath.Dir(p.path(file)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.path(file), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestMounts(t *testing.T) {
	const text = `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cg ro,nosuid,nodev,noexec shared:9 master:2 - tmpfs tmpfs ro,mode=755
38 31 0:31 / /sys/fs/cg/uni\040fied rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw
39 31 0:36 /a\134b /mnt/tab\011x rw,relatime unbindable - cgroup a\040source rw,pids
40 31 0:37 / /mnt/nameless rw -  tmpfs rw
41 31 0:38 / /mnt/hyphen rw shared:1 - tmpfs - rw
42 31 0:39 / /mnt/empty rw,idmapped new:7 - tmpfs  rw,name=a=b
43 31 0:40 / /mnt/layers rw - overlay overlay rw,lowerdir=`
	layers := strings.Repeat("/a/layer:", 1<<17) // more than a page since Linux 6.7
	set := func(words ...string) map[string]string {
		m := map[string]string{}
		for _, w := range words {
			k, v, _ := strings.Cut(w, "=")
			m[k] = v
		}
		return m
	}
	want := []Mount{
		{27, "254:0", "/", "/", "ext4", "/dev/vda", set("rw", "relatime"), set("rw"), false},
		{31, "0:28", "/", "/sys/fs/cg", "tmpfs", "tmpfs", set("ro", "nosuid", "nodev", "noexec"), set("ro", "mode=755"), false},
		{38, "0:31", "/", "/sys/fs/cg/uni fied", "cgroup2", "cgroup2", set("rw", "nosuid", "nodev", "noexec", "relatime"), set("rw"), true},
		{39, "0:36", `/a\b`, "/mnt/tab\tx", "cgroup", "a source", set("rw", "relatime"), set("rw", "pids"), false},
		{40, "0:37", "/", "/mnt/nameless", "", "tmpfs", set("rw"), set("rw"), true},
		{41, "0:38", "/", "/mnt/hyphen", "tmpfs", "-", set("rw"), set("rw"), false},
		{42, "0:39", "/", "/mnt/empty", "tmpfs", "", set("rw", "idmapped"), set("rw", "name=a=b"), true},
		{43, "0:40", "/", "/mnt/layers", "overlay", "overlay", set("rw"), set("rw", "lowerdir="+layers), true},
	}
	got, err := fake(t, "self/mountinfo", text+layers+"\n").Mounts()
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	got, err = fake(t, "self/task/7/mountinfo", text+layers+"\n").ThreadMounts(7)
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("of a thread: %v (-want +got):\n%s", err, d)
	}
	p := fake(t, "9/task/8/mountinfo", text+layers+"\n")
	if err := os.Symlink("9/task/8", p.path("thread-self")); err != nil {
		t.Fatal(err)
	}
	got, err = p.OwnThreadMounts()
	if d := cmp.Diff(want, got); d != "" || err != nil {
		t.Errorf("of the calling thread: %v (-want +got):\n%s", err, d)
	}
	for _, bad := range []string{"x\n", "27 1 254:0 / / rw\n", "27 1 - ext4\n", "27 1 254:0 / / rw - \n", "27 1 254:0 / / rw - ext4\n", "x 1 254:0 / / rw - ext4 none rw\n"} {
		p := fake(t, "self/mountinfo", bad)
		if got, err := p.Mounts(); err == nil || !strings.Contains(err.Error(), p.path("self/mountinfo")) {
			t.Errorf("%q: %+v, %v, want an error that names the file", bad, got, err)
		}
	}
}

func TestUnescapeOctal(t *testing.T) {
	for in, want := range map[string]string{
		`/a`: "/a", `/a\040b`: "/a b", `/a\134b`: `/a\b`, `/a\04`: `/a\04`, `\089`: `\089`, `\011\012`: "\t\n",
	} {
		if got := unescapeOctal(in); got != want {
			t.Errorf("unescapeOctal(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestGone(t *testing.T) {
	const gone = 1<<22 + 1 // above any pid_max
	_, stat := Host.Stat(gone)
	_, status := Host.Status(gone)
	for name, err := range map[string]error{"stat": stat, "status": status} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s of a process that is gone: %v, want ErrNotExist", name, err)
		}
	}
}

func TestStat(t *testing.T) {
	line := func(name, state, status string) string {
		return "4711 (" + name + ") " + state + " 1 7 6 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 12345" + strings.Repeat(" 0", 29) + " " + status + "\n"
	}
	stat := func(state string, wait unix.WaitStatus) Stat { return Stat{4711, state, 6, 12345, uint32(wait)} }
	for _, row := range []struct {
		name, text string
		want       Stat
	}{
		{"exited", line("sh", "Z", "768"), stat("Z", 3<<8)},
		{"killed", line("sh", "Z", "9"), stat("Z", 9)},
		{"a name like a field", line("a) Z 1 (b", "S", "0"), stat("S", 0)},
		{"cut", "4711 (sh) Z 1 2", Stat{}},
		{"no number", line("sh", "Z", "x"), Stat{}},
		{"empty", "", Stat{}},
	} {
		got, err := fake(t, "7/stat", row.text).Stat(7)
		if (err == nil) != (row.want != Stat{}) || err == nil && got != row.want {
			t.Errorf("%s: %+v, %v, want %+v", row.name, got, err, row.want)
		}
	}
}

func TestStatus(t *testing.T) {
	node := "Name:\tnode: x\nPid:\t77\nPPid:\t3\nUid:\t1000\t0\t0\t0\nNSpid:\t77\t5\t1\nVmRSS:\t  9000 kB\nRssAnon:\t    1024 kB\nRssFile:\t 512 kB\n" +
		"RssShmem:\t      4 kB\nVmSwap:\t       2 kB\nThreads:\t11\nNoNewPrivs:\t1\nSeccomp:\t2\nGroups:\t" + strings.Repeat("4294967294 ", 1<<16) + "\n"
	for text, want := range map[string]Status{
		node: {UID: 1000, Parent: 3, InnerPID: 1, Threads: 11, Memory: 1030 << 10, NoNewPrivs: true, Seccomp: 2},
		"Name:\tsh\nState:\tZ (zombie)\nUid:\t0\t0\t0\t0\nThreads:\t1\n": {InnerPID: 77, Threads: 1},
		"Uid:\t0\t0\t0\t0\nNSpid:\t77\nNoNewPrivs:\t0\nSeccomp:\t0\n":    {InnerPID: 77},
	} {
		if got, err := fake(t, "77/status", text).Status(77); err != nil || got != want {
			t.Errorf("%.80q: %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "Uid:\t\n", "Uid:\t-1\n", "Uid:\t0\nNSpid:\tx\n", "Uid:\t0\nRssAnon:\tmany kB\n"} {
		if got, err := fake(t, "77/status", text).Status(77); err == nil {
			t.Errorf("%q: %+v, want an error", text, got)
		}
	}
}

func TestTasks(t *testing.T) {
	if n, err := fake(t, "loadavg", "0.20 0.18 0.12 1/80 11206\n").Tasks(); n != 80 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := fake(t, "loadavg", "\n").Tasks(); err == nil {
		t.Error("an empty loadavg is no number")
	}
}

func TestMemory(t *testing.T) {
	bytes := func(n uint64) *uint64 { return &n }
	const total = "MemTotal:       16302532 kB\n"
	for text, want := range map[string]Memory{
		total + "MemFree: 1 kB\nMemAvailable:        0 kB\n":          {Total: bytes(16302532 << 10), Available: bytes(0)},
		total + "ShadowCallStack:10373888 kB\nHuge: 1 2 3 4\nodd\n\n": {Total: bytes(16302532 << 10)},
		"MemTotal:18014396678257 kB\n":                                {Total: bytes(18014396678257 << 10)},
		"":                                                            {},
	} {
		got, err := fake(t, "meminfo", text).Memory()
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v (-want +got):\n%s", text, err, d)
		}
	}
	for _, text := range []string{"MemTotal: lots kB\n", "MemTotal:\n", "MemTotal: 99999999999999999999 kB\n"} {
		p := fake(t, "meminfo", text)
		if got, err := p.Memory(); err == nil || !strings.Contains(err.Error(), p.path("meminfo")) {
			t.Errorf("%q: %+v, %v, want an error that names the file", text, got, err)
		}
	}
}
