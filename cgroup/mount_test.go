package cgroup

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseMounts(t *testing.T) {
	in := `31 23 0:28 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:7 - cgroup cgroup rw,cpu
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 master:1 - cgroup2 cgroup2 rw,nsdelegate
42 31 0:38 /a\040b /mnt/tab\011x ro,nosuid - cgroup2 none rw
`
	got, err := parseMounts(strings.NewReader(in))
	want := []mount{
		{root: "/", point: "/sys/fs/cgroup/unified"},
		{root: "/a b", point: "/mnt/tab\tx", readOnly: true},
	}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(mount{})); d != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	for _, bad := range []string{"31 23 0:28 / /x rw", "31 23 - cgroup2 none rw"} {
		if _, err := parseMounts(strings.NewReader(bad)); err == nil {
			t.Errorf("%q: want an error", bad)
		}
	}
}

func TestParseSelf(t *testing.T) {
	if got, err := parseSelf(strings.NewReader("4:memory:/x\n0::/system.slice/a:b.service\n")); got != "/system.slice/a:b.service" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := parseSelf(strings.NewReader("4:memory:/x\n")); err == nil {
		t.Error("without a v2 line: want an error")
	}
}

func TestLocate(t *testing.T) {
	all := mount{root: "/", point: "/sys/fs/cgroup"}
	part := mount{root: "/box", point: "/mnt"}
	locked := mount{root: "/", point: "/ro", readOnly: true}
	for _, tt := range []struct {
		name   string
		mounts []mount
		self   string
		want   string
		bad    string
	}{
		{"root", []mount{all}, "/", "/sys/fs/cgroup", ""},
		{"below", []mount{all}, "/a/b", "/sys/fs/cgroup/a/b", ""},
		{"bind of a part", []mount{part}, "/box/c", "/mnt/c", ""},
		{"bind of another part", []mount{part}, "/boxer", "", "not below any"},
		{"writable wins over a later one", []mount{all, locked}, "/a", "/sys/fs/cgroup/a", ""},
		{"read-only when there is no other", []mount{locked}, "/a", "/ro/a", ""},
		{"the last of equals", []mount{all, {root: "/", point: "/two"}}, "/a", "/two/a", ""},
		{"outside the namespace", []mount{all}, "/../x", "", "not below any"},
		{"removed", []mount{all}, "/a (deleted)", "", "removed under us"},
		{"no mount", nil, "/", "", "no cgroup2 mount"},
	} {
		_, got, err := locate(tt.mounts, tt.self)
		if got != tt.want || (err == nil) != (tt.bad == "") || (err != nil && !strings.Contains(err.Error(), tt.bad)) {
			t.Errorf("%s: %q, %v, want %q, %q", tt.name, got, err, tt.want, tt.bad)
		}
	}
}
