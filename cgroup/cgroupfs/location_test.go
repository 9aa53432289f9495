package cgroupfs

import (
	"path"
	"strings"
	"testing"

	"penstock/internal/procinfo"
)

func TestLocate(t *testing.T) {
	at := func(root, point string) procinfo.Mount {
		return procinfo.Mount{FSType: "cgroup2", Root: root, Point: point}
	}
	all, part := at("/", "/sys/fs/cgroup"), at("/box", "/mnt")
	locked, lockedWhole, v1 := at("/", "/ro"), at("/", "/ro"), at("/", "/v1")
	locked.Options = map[string]string{"ro": ""}
	lockedWhole.SuperOptions = map[string]string{"ro": ""}
	v1.FSType = "cgroup"
	for _, tt := range []struct {
		name   string
		mounts []procinfo.Mount
		self   string
		want   string
		bad    string
	}{
		{"root", []procinfo.Mount{all}, "/", "/sys/fs/cgroup", ""},
		{"below", []procinfo.Mount{all}, "/a/b", "/sys/fs/cgroup/a/b", ""},
		{"bind of a part", []procinfo.Mount{part}, "/box/c", "/mnt/c", ""},
		{"bind of another part", []procinfo.Mount{part}, "/boxer", "", "not below any"},
		{"writable wins over a later one", []procinfo.Mount{all, locked}, "/a", "/sys/fs/cgroup/a", ""},
		{"a file system that is read-only", []procinfo.Mount{lockedWhole, all, lockedWhole}, "/a", "/sys/fs/cgroup/a", ""},
		{"the other version", []procinfo.Mount{all, v1}, "/a", "/sys/fs/cgroup/a", ""},
		{"the other version alone", []procinfo.Mount{v1}, "/a", "", "no cgroup2 mount"},
		{"read-only when there is no other", []procinfo.Mount{locked}, "/a", "/ro/a", ""},
		{"the last of equals", []procinfo.Mount{all, at("/", "/two")}, "/a", "/two/a", ""},
		{"outside the namespace", []procinfo.Mount{all}, "/../x", "", "not below any"},
		{"removed", []procinfo.Mount{all}, "/a (deleted)", "", "removed under us"},
		{"no mount", nil, "/", "", "no cgroup2 mount"},
	} {
		_, got, err := Locate(tt.mounts, tt.self)
		if got != tt.want || (err == nil) != (tt.bad == "") || (err != nil && !strings.Contains(err.Error(), tt.bad)) {
			t.Errorf("%s: %q, %v, want %q, %q", tt.name, got, err, tt.want, tt.bad)
		}
	}
}

// Each is a name of the one file, and those of v1 are there where programs look for them.
func TestMemoryLinks(t *testing.T) {
	for v1, want := range map[bool]int{false: 1, true: 3} {
		all := memoryLinks(v1)
		if len(all) != want {
			t.Errorf("v1 %t: %v", v1, all)
		}
		for _, l := range all {
			if path.Join(path.Dir(l.Path), l.To) != MemoryFile {
				t.Errorf("%s -> %s", l.Path, l.To)
			}
		}
	}
}
