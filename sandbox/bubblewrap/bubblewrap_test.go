package bubblewrap

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func spec(mounts ...specs.Mount) *specs.Spec {
	return &specs.Spec{Hostname: "node22", Mounts: mounts, Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{
		{Type: specs.MountNamespace}, {Type: specs.PIDNamespace}, {Type: specs.IPCNamespace}, {Type: specs.NetworkNamespace},
	}}}
}

func TestArgs(t *testing.T) {
	got, err := Args(spec(
		specs.Mount{Destination: "/", Type: "tmpfs", Options: []string{"ro", "size=65536", "mode=755"}},
		specs.Mount{Destination: "/usr", Type: "bind", Source: Source(9), Options: []string{"rbind", "ro"}},
		specs.Mount{Destination: "/bin", Type: Symlink, Source: "usr/bin"},
		specs.Mount{Destination: "/srv", Type: Dir, Options: []string{"mode=700"}},
		specs.Mount{Destination: "/proc", Type: "proc"},
		specs.Mount{Destination: "/dev", Type: "devtmpfs", Options: []string{"ro"}},
		specs.Mount{Destination: "/dev/shm", Type: "tmpfs", Options: []string{"size=4096", "mode=1777"}},
		specs.Mount{Destination: "/etc/group", Type: Copy, Source: Source(12), Options: []string{"mode=444"}},
		specs.Mount{Destination: "/work", Type: "bind", Source: Source(11)},
	), Descriptors{Args: 5, Status: 4, Program: 6})
	if err != nil {
		t.Fatal(err)
	}
	want := "--as-pid-1 --json-status-fd 4 --chdir / --unshare-pid --unshare-ipc --unshare-net --hostname node22 " +
		"--perms 755 --size 65536 --tmpfs / --ro-bind-fd 9 /usr --symlink usr/bin /bin --perms 700 --dir /srv --proc /proc --dev /dev " +
		"--perms 1777 --size 4096 --tmpfs /dev/shm --perms 444 --file 12 /etc/group --bind-fd 11 /work --remount-ro /dev --remount-ro / "
	if diff := cmp.Diff(want, strings.ReplaceAll(string(got), "\x00", " ")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/usr/bin/bwrap", "--args", "5", "--", "/proc/self/fd/6"}, Argv("/usr/bin/bwrap", Descriptors{Args: 5, Status: 4, Program: 6})); diff != "" {
		t.Error(diff)
	}
}

func TestArgs_Refused(t *testing.T) {
	for want, m := range map[string]specs.Mount{
		"a tmpfs without a size":    {Destination: "/tmp", Type: "tmpfs"},
		"is no descriptor":          {Destination: "/usr", Type: "bind", Source: "/usr"},
		`"/proc/self/fd/1" is no`:   {Destination: "/usr", Type: "bind", Source: Source(1)},
		`"/proc/self/fd/9/x" is no`: {Destination: "/usr", Type: "bind", Source: Source(9) + "/x"},
		`option "idmap": not to be`: {Destination: "/usr", Type: "bind", Source: Source(9), Options: []string{"idmap"}},
		`type "overlay": unknown`:   {Destination: "/usr", Type: "overlay"},
		"a NUL in an argument":      {Destination: "/a\x00--bind", Type: Dir},
		"not a number of bytes":     {Destination: "/tmp", Type: "tmpfs", Options: []string{"size=1m"}},
		"no permissions":            {Destination: "/tmp", Type: Dir, Options: []string{"mode=4755"}},
	} {
		if _, err := Args(spec(m), Descriptors{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s %s: %v, want %q", m.Type, m.Source, err, want)
		}
	}
	joined := spec()
	joined.Linux.Namespaces[1].Path = "/proc/1/ns/pid"
	if _, err := Args(joined, Descriptors{}); err == nil {
		t.Error("another's namespace was taken for a new one")
	}
}
