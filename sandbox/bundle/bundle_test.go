package bundle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/sandbox/bubblewrap"
	"penstock/sandbox/pid1"
)

// plainImage is the smallest root file system.
func plainImage(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "usr/lib/deep", "etc", "var/tmp", "run"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "usr/bin/cli"), "", 0o755)
	write(t, filepath.Join(root, "usr/lib/deep/file"), "", 0o644)
	write(t, filepath.Join(root, "etc/hosts"), "", 0o644)
	write(t, filepath.Join(root, "var/file"), "", 0o644)
	link(t, "usr/bin", filepath.Join(root, "bin"))
	link(t, "/usr/lib", filepath.Join(root, "lib"))
	return root
}

func plan(t *testing.T, o Options) (*Bundle, error) {
	t.Helper()
	if o.Home == "" {
		o.Home = "/home/agent"
	}
	o.Writable, o.FirstFD = 1<<20, 8
	b, err := New(o)
	if err == nil {
		t.Cleanup(func() { b.Close() })
	}
	return b, err
}

// mounted are a Spec's mounts, each "type destination <- source options", a descriptor by what it is of.
func mounted(b *Bundle) (all []string) {
	for _, m := range b.Spec.Mounts {
		source := m.Source
		for i, f := range b.Files {
			if source == bubblewrap.Source(8+i) {
				source = filepath.Base(f.Name())
			}
		}
		all = append(all, strings.Join(append([]string{m.Type, m.Destination, source}, m.Options...), " "))
	}
	return all
}

func TestNew_Root(t *testing.T) {
	b, err := plan(t, Options{Image: plainImage(t), Hostname: "plain", NoNetwork: true})
	if err != nil {
		t.Fatal(err)
	}
	// What is in /var is there; /home, /tmp, /proc and /dev aren't.
	want := []string{
		"tmpfs / tmpfs ro size=1048576 mode=755",
		"symlink /bin usr/bin",
		"bind /etc etc rbind ro",
		"symlink /lib /usr/lib",
		"directory /run  mode=755",
		"bind /usr usr rbind ro",
		"directory /dev  mode=755",
		"directory /home  mode=755",
		"directory /home/agent  mode=755",
		"directory /proc  mode=755",
		"directory /tmp  mode=755",
		"bind /var var rbind ro",
		"proc /proc proc",
		"devtmpfs /dev devtmpfs ro",
		"tmpfs /tmp tmpfs size=1048576 mode=755",
	}
	if diff := cmp.Diff(want, mounted(b)); diff != "" {
		t.Error(diff)
	}
	if w := b.Writable; w.Pool != "/tmp" || len(w.Places) != 4 || len(w.Moves) != 0 {
		t.Errorf("writable: %+v", w)
	}
	var kinds []specs.LinuxNamespaceType
	for _, n := range b.Spec.Linux.Namespaces {
		kinds = append(kinds, n.Type)
	}
	if diff := cmp.Diff([]specs.LinuxNamespaceType{"mount", "pid", "ipc", "uts", "cgroup", "network"}, kinds); diff != "" {
		t.Error(diff)
	}
}

// Some images have but one directory for temporary files.
func TestNew_OneTmp(t *testing.T) {
	for _, at := range []struct{ name, leads, want string }{{"var/tmp", "../tmp", "/tmp"}, {"tmp", "/var/tmp", "/var/tmp"}} {
		image := plainImage(t)
		if err := os.Remove(filepath.Join(image, "var/tmp")); err != nil {
			t.Fatal(err)
		}
		link(t, at.leads, filepath.Join(image, at.name))
		b, err := plan(t, Options{Image: image})
		if err != nil {
			t.Fatal(err)
		}
		if w := b.Writable; len(w.Places) != 3 || w.Pool != at.want || w.Places[0].Path != at.want {
			t.Errorf("%s: %+v", at.name, w)
		}
	}
}

// A directory that lacks a mount point is rebuilt over itself, and no other.
func TestNew_DeepMountPoint(t *testing.T) {
	dir := t.TempDir()
	b, err := plan(t, Options{Image: plainImage(t), Mounts: []Mount{{From: sourceOf(t, dir), To: "/lib/deep/new", ReadOnly: true}}})
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(mounted(b), "\n")
	for _, want := range []string{
		"bind /usr usr rbind ro\n",
		"tmpfs /usr/lib/deep tmpfs ro size=1048576 mode=755\nbind /usr/lib/deep/file file rbind ro\ndirectory /usr/lib/deep/new  mode=755\n",
		"bind /usr/lib/deep/new " + filepath.Base(dir) + " rbind ro",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
}

// A supplied file is mounted over the image's, unless its directory is rebuilt anyway.
func TestNew_Supplied(t *testing.T) {
	image := plainImage(t)
	for missing, want := range map[string]string{"": "copy /tmp/move0 supplied mode=444", "/etc/group": "copy /etc/group supplied mode=444\ncopy /etc/hosts supplied mode=444"} {
		files := map[string][]byte{"/etc/hosts": []byte("x")}
		if missing != "" {
			files[missing] = []byte("y")
		}
		b, err := plan(t, Options{Image: image, Files: files})
		if err != nil {
			t.Fatal(err)
		}
		all := strings.Join(mounted(b), "\n")
		if !strings.HasSuffix(all, "\n"+want) {
			t.Errorf("%q missing: %s", missing, all)
		}
		var moves []pid1.Move
		if missing == "" {
			moves = []pid1.Move{{From: "move0", To: "/etc/hosts", File: true, ReadOnly: true}}
		}
		if diff := cmp.Diff(moves, b.Writable.Moves); diff != "" {
			t.Errorf("%q missing: %s", missing, diff)
		}
	}
}

// A link where nothing can be supplied is told by its name, and before there is a run.
func TestCheck(t *testing.T) {
	for _, c := range []struct{ name, target, want string }{
		{"etc/resolv.conf", "../run/resolv.conf", ""},
		{"etc/resolv.conf", "/tmp/resolv.conf", ""},
		{"etc/resolv.conf", "/dev/null", "/etc/resolv.conf of the image leads to /dev/null, where no run can have one of its own: mount /dev/null: it lies in the mount /dev (hint: make it a file"},
		{"etc/resolv.conf", "/proc/net/pnp", "/etc/resolv.conf of the image leads to /proc/net/pnp,"},
		{"etc/resolv.conf", "/run", "/etc/resolv.conf of the image leads to /run, where no run can have one of its own: mount /run: the image has a directory in its place (hint: make it a file"},
		{"etc/resolv.conf", "hosts", "/etc/hosts and /etc/resolv.conf of the image are one, /etc/hosts: each run has one of its own for either (hint: make it a file"},
		{"etc/group", "/etc/group", "/etc/group: too many levels of symbolic links"},
		{"home", "/dev", "home: mount /dev/agent: nothing can be mounted in /dev"},
	} {
		image := plainImage(t)
		link(t, c.target, filepath.Join(image, c.name))
		err := Check(image, "tiny", "/home/agent")
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s -> %s: %v, want %q", c.name, c.target, err, c.want)
		}
	}
}

// What memory a run may have is told where the image has nothing of its own in /sys.
func TestNew_Memory(t *testing.T) {
	image := plainImage(t)
	layout := func(memory int64) string {
		b, err := plan(t, Options{Image: image, Memory: memory})
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join(mounted(b), "\n")
	}
	const max = "\ncopy /sys/fs/cgroup/memory.max supplied mode=444"
	if all := layout(0); strings.Contains(all, "/sys") {
		t.Errorf("a run without a limit: %s", all)
	}
	if all := layout(1); !strings.Contains(all, max) || !strings.Contains(all, "\nsymlink /sys/fs/cgroup/memory.high memory.max") {
		t.Errorf("without /sys: %s", all)
	}
	if err := os.MkdirAll(filepath.Join(image, "sys/fs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if all := layout(1); strings.Contains(all, max) || !strings.Contains(all, "\nbind /sys sys rbind ro") {
		t.Errorf("with its own in /sys: %s", all)
	}
	if err := os.Remove(filepath.Join(image, "sys/fs")); err != nil {
		t.Fatal(err)
	}
	if all := layout(1); !strings.Contains(all, max) {
		t.Errorf("with an empty /sys: %s", all)
	}
	if err := os.Remove(filepath.Join(image, "sys")); err != nil {
		t.Fatal(err)
	}
	link(t, "usr", filepath.Join(image, "sys"))
	if all := layout(1); strings.Contains(all, max) {
		t.Errorf("with a link for /sys: %s", all)
	}
}

// What an image's links lead to a place where it is anyway is left out, and nothing else is.
func TestNew_Spare(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"certs/bundle", "certs/deep/one", "other"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), name, 0o644)
	}
	image := plainImage(t)
	for at, to := range map[string]string{"etc/cert": "ssl/bundle", "etc/tls": "ssl", "etc/one": "ssl/deep/one"} {
		link(t, to, filepath.Join(image, at))
	}
	for _, c := range []struct{ first, second, want string }{
		{"certs /etc/ssl", "certs/bundle /etc/cert", ""},
		{"certs /etc/tls", "certs/bundle /etc/ssl/bundle", ""},
		{"certs /etc/ssl", "certs/deep/one /etc/one", ""},
		{"certs /etc/ssl", "certs /etc/tls", ""},
		{"certs/bundle /etc/cert", "certs/bundle /etc/ssl/bundle", ""},
		{"certs/bundle /etc/cert", "certs /etc/ssl", ""},
		{"certs/bundle /etc/cert", "other /etc/ssl/bundle", "two mounts go there"},
		{"certs /etc/ssl", "other /etc/cert", "it lies in the mount /etc/ssl"},
		{"certs /etc/ssl", "other /etc/ssl/none", "it lies in the mount /etc/ssl"},
	} {
		var mounts []Mount
		for _, m := range []string{c.first, c.second} {
			from, to, _ := strings.Cut(m, " ")
			mounts = append(mounts, Mount{From: sourceOf(t, filepath.Join(dir, from)), To: to, ReadOnly: true, Spare: true})
		}
		b, err := plan(t, Options{Image: image, Mounts: mounts})
		if c.want == "" && (err != nil || strings.Count(strings.Join(mounted(b), "\n"), "\nbind /etc/ssl") != 1) {
			t.Errorf("%s, %s: %v", c.first, c.second, err)
		}
		if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s, %s: %v, want %q", c.first, c.second, err, c.want)
		}
	}
}

func TestNew_Refused(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "", 0o644)
	if err := exec.Command("mkfifo", filepath.Join(dir, "pipe")).Run(); err != nil {
		t.Skipf("needs mkfifo: %v", err)
	}
	image := plainImage(t)
	for _, c := range []struct{ from, to, want string }{
		{"", "/", "it would cover the whole image"},
		{"", "/usr", "it would cover /usr"},
		{"", "/usr/../usr/./", "it would cover /usr"},
		{"", "/etc", "it would cover /etc"},
		{"", "/bin", "mount /usr/bin: it would cover /bin"},
		{"", "/lib", "mount /usr/lib: it would cover /lib"},
		{"", "/usr/lib", "mount /usr/lib: it would cover /lib"},
		{"", "/proc", "it would cover /proc"},
		{"", "/proc/sys", "nothing can be mounted in /proc"},
		{"", "/dev/disk", "nothing can be mounted in /dev"},
		{"", "/opt/cli/", "it would cover the program's own directory /opt/cli/bin"},
		{"", "/home", "it would cover /home/agent"},
		{"", "/etc/hosts", "the image has a file in its place"},
		{"file", "/run", "the image has a directory in its place"},
		{"", "/var/file/x", "the image has a file in its place"},
		{"", "relative", "not an absolute path"},
		{"file rw", "/srv/x", "a single file can only be read"},
		{"pipe", "/srv/x", "neither a directory nor a file"},
		{"/proc/sys", "/srv/x", "it is the host's proc"},
		{"/sys", "/srv/x", "it is the host's sysfs"},
		{"", "/srv/a/b", "mount /srv/a/b: it lies in the mount /srv/a"},
		{"", "/srv/w/a/b", "mount /srv/w/a/b: it lies in the mount /srv/w/a"},
	} {
		name, access, _ := strings.Cut(c.from, " ")
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		o := Options{Image: image, Program: "/opt/cli/bin/cli", Mounts: []Mount{{From: sourceOf(t, name), To: c.to, ReadOnly: access != "rw"}}}
		if c.to == "/srv/a/b" {
			o.Mounts = append(o.Mounts, Mount{From: sourceOf(t, dir), To: "/srv/a", ReadOnly: true})
		}
		if c.to == "/srv/w/a/b" { // that can be swapped, in the outermost
			o.Mounts = append(o.Mounts, Mount{From: sourceOf(t, dir), To: "/srv/w"}, Mount{From: sourceOf(t, dir), To: "/srv/w/a"})
		}
		if _, err := plan(t, o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s to %s: %v, want %q", c.from, c.to, err, c.want)
		}
	}
	for _, home := range []string{"/usr", "/dev/home", "/tmp/home"} {
		if _, err := plan(t, Options{Image: image, Home: home}); err == nil {
			t.Errorf("home %s was taken", home)
		}
	}
}

// Neither by its own name nor from above.
func TestNew_Closed(t *testing.T) {
	top := t.TempDir()
	for _, dir := range []string{"state/images", "work"} {
		if err := os.MkdirAll(filepath.Join(top, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	image := plainImage(t)
	for from, open := range map[string]bool{"": false, "state": false, "state/images": false, "work": true} {
		_, err := plan(t, Options{Image: image, Closed: []string{filepath.Join(top, "state/images"), "/no/such"}, Mounts: []Mount{{From: sourceOf(t, filepath.Join(top, from)), To: "/srv/x"}}})
		if open != (err == nil) || err != nil && !strings.Contains(err.Error(), "state/images, which is the daemon's, lies in it") {
			t.Errorf("%q: %v", from, err)
		}
	}
}

func TestNew_ManyEntries(t *testing.T) {
	image := plainImage(t)
	for i := range entriesMost + 1 {
		link(t, "x", filepath.Join(image, "usr/lib/deep", strings.Repeat("a", i/100+1)+string(rune('a'+i%26))+string(rune('a'+i/26%26))))
	}
	_, err := plan(t, Options{Image: image, Mounts: []Mount{{From: sourceOf(t, t.TempDir()), To: "/usr/lib/deep/new"}}})
	if err == nil || !strings.Contains(err.Error(), "lacks the mount point /usr/lib/deep/new") {
		t.Error(err)
	}
}

// All that are rebuilt count together: of three hundred entries in each of four directories a
// run would have twelve hundred descriptors.
func TestNew_ManyEntriesTogether(t *testing.T) {
	image := plainImage(t)
	var mounts []Mount
	for _, dir := range []string{"one", "two", "three", "four"} {
		if err := os.MkdirAll(filepath.Join(image, "srv", dir), 0o755); err != nil {
			t.Fatal(err)
		}
		for i := range entriesMost * 3 / 10 {
			link(t, "x", filepath.Join(image, "srv", dir, strings.Repeat("a", i/100+1)+string(rune('a'+i%26))+string(rune('a'+i/26%26))))
		}
		mounts = append(mounts, Mount{From: sourceOf(t, t.TempDir()), To: "/srv/" + dir + "/new"})
	}
	if _, err := plan(t, Options{Image: image, Mounts: mounts[:3]}); err != nil {
		t.Error(err)
	}
	if _, err := plan(t, Options{Image: image, Mounts: mounts}); err == nil || !strings.Contains(err.Error(), "it has, with others that are, more than 1000 entries") {
		t.Error(err)
	}
}

func TestNew_ClosesWhatItOpened(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip(err)
		}
		return len(entries)
	}
	image, from := plainImage(t), sourceOf(t, t.TempDir())
	before := count()
	for _, to := range []string{"/srv/x", "/usr"} {
		b, err := New(Options{Image: image, Home: "/root", Writable: 1, Files: map[string][]byte{"/etc/hosts": {}}, Mounts: []Mount{{From: from, To: to}}})
		if err == nil {
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if now := count(); now != before {
		t.Errorf("%d descriptors before, %d after", before, now)
	}
}
