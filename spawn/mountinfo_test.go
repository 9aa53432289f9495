package spawn

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseMounts(t *testing.T) {
	const text = `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cg ro,nosuid,nodev,noexec shared:9 master:2 - tmpfs tmpfs ro,mode=755
38 31 0:31 / /sys/fs/cg/uni\040fied rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup2 rw
39 31 0:36 / /sys/fs/cg/pids rw,relatime - cgroup cgroup rw,pids
`
	got, err := parseMounts(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []mount{
		{27, "254:0", "/", "/", "ext4", "/dev/vda", []string{"rw", "relatime"}, false},
		{31, "0:28", "/", "/sys/fs/cg", "tmpfs", "tmpfs", []string{"ro", "nosuid", "nodev", "noexec"}, false},
		{38, "0:31", "/", "/sys/fs/cg/uni fied", "cgroup2", "cgroup2", []string{"rw", "nosuid", "nodev", "noexec", "relatime"}, true},
		{39, "0:36", "/", "/sys/fs/cg/pids", "cgroup", "cgroup", []string{"rw", "relatime"}, true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if got[0].cgroupMount() || got[1].cgroupMount() || !got[2].cgroupMount() || !got[3].cgroupMount() {
		t.Error("cgroup mounts not told from others")
	}
	if got[0].readOnly() || !got[1].readOnly() {
		t.Error("read-only mounts not told from others")
	}
	if want := uintptr(unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC); got[2].kept() != want || got[3].kept() != 0 {
		t.Errorf("kept flags %#x and %#x, want %#x and 0", got[2].kept(), got[3].kept(), want)
	}
}

func TestParseMountsRefusesGarbage(t *testing.T) {
	for _, text := range []string{"x\n", "27 1 254:0 / / rw\n", "27 1 - ext4\n", "27 1 254:0 / / rw - \n", "27 1 254:0 / / rw - ext4\n", "x 1 254:0 / / rw - ext4 none rw\n"} {
		if got, err := parseMounts(strings.NewReader(text)); err == nil {
			t.Errorf("%q: parsed as %+v", text, got)
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
