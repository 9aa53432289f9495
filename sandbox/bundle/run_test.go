package bundle

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tree is all that can be seen of a directory's files.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var stat unix.Stat_t
		if err := unix.Lstat(path, &stat); err != nil {
			return err
		}
		content := ""
		switch stat.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			content = fmt.Sprintf("%x", sha256.Sum256(text))
		case unix.S_IFLNK:
			content, err = os.Readlink(path)
		}
		all[path] = fmt.Sprintln(stat.Mode, stat.Uid, stat.Gid, stat.Nlink, stat.Size, stat.Mtim, stat.Ctim, content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRun_ImageStaysAsItWas(t *testing.T) {
	image := testImage(t)
	for _, user := range []uint32{4321, 0} {
		source := t.TempDir()
		s := newScene(t, image, `for f in /x /usr/x /usr/lib/deep/x /etc/x /etc/passwd /var/lib/x /root/x /usr/bin/busybox /usr/lib/deep/new/x; do
			(echo x >> $f) 2>/dev/null && echo WROTE $f; done
			mount -o remount,rw /usr 2>/dev/null && echo REMOUNTED; rm -f /etc/ssl/cert /usr/bin/true 2>/dev/null; mknod /tmp/d b 8 0 2>/dev/null && echo NODE; exit 0`)
		s.job.TakeUser, s.job.Process.User.UID = user != 0, user
		// None of these has a place in the image.
		for _, to := range []string{"/usr/lib/deep/new", "/srv/a/b", "/opt"} {
			s.Mounts = append(s.Mounts, Mount{From: sourceOf(t, source), To: to, ReadOnly: true})
		}
		before := tree(t, image)
		if got := s.script(t); !slices.Equal(got, []string{""}) {
			t.Errorf("user %d: %s", user, got)
		}
		if diff := cmp.Diff(before, tree(t, image)); diff != "" {
			t.Errorf("user %d: the image is another: %s", user, diff)
		}
	}
}

func sourceOf(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := OpenSource(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// As the source of a bind mount, a link of the image's would lead to the host's files.
func TestRun_LinksLeadInside(t *testing.T) {
	image := testImage(t)
	if entries, err := os.ReadDir("/usr/sbin"); err != nil || len(entries) == 0 {
		t.Skip("this host has nothing in /usr/sbin")
	}
	got := newScene(t, image, "readlink /hostlink; readlink /bin; ls /hostlink/ 2>/dev/null | wc -l; ls /bin/ | wc -l; cat /etc/ssl/cert; grep -c ^ /etc/resolv.conf; readlink /etc/resolv.conf").script(t)
	programs, err := os.ReadDir(filepath.Join(image, "usr/bin"))
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/usr/sbin", "usr/bin", "0", strconv.Itoa(len(programs)), "of the image", strconv.Itoa(strings.Count(string(host), "\n")), "../run/resolv.conf"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// As in a stored image: /etc has a place for each file that is supplied, or a link.
func TestRun_SuppliedInPlace(t *testing.T) {
	image := testImage(t)
	for _, name := range []string{"etc/hosts", "etc/group"} {
		write(t, filepath.Join(image, name), "", 0o644)
	}
	got := newScene(t, image, "readlink /etc/resolv.conf; cat /etc/resolv.conf | wc -c; cat /etc/hosts | wc -c; id -un; id -gn; grep -o ' /etc[^ ]* ro' /proc/self/mountinfo; grep -c ' /run' /proc/self/mountinfo; true").script(t)
	want := []string{"../run/resolv.conf"}
	for _, name := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Skip(err)
		}
		if name == "/etc/hosts" {
			text = withHost(text, "node22")
		}
		want = append(want, strconv.Itoa(len(text)))
	}
	want = append(want, "node", "agent", " /etc ro", " /etc/group ro", " /etc/hosts ro", " /etc/passwd ro", "0")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRun_Proc(t *testing.T) {
	for _, user := range []uint32{4321, 0} {
		s := newScene(t, testImage(t), `[ $(ls /proc 2>/dev/null | grep -c '^[0-9]*$') -lt 9 ] && echo few; for f in /proc/sys/kernel/hostname /proc/sys/vm/overcommit_memory /proc/sysrq-trigger /proc/sys/kernel/core_pattern; do
			(: >>$f) 2>/dev/null && echo WROTE $f; done
			ls /proc/1/fd/ 2>/dev/null | while read n; do readlink /proc/1/fd/$n; done; cat /proc/1/environ 2>/dev/null; (echo x > /proc/1/mem) 2>/dev/null && echo MEM; kill -9 1; mount -o remount,rw /proc/sys 2>/dev/null && echo REMOUNTED; umount /proc/sys 2>/dev/null && echo UNMOUNTED; hostname; exit 0`)
		s.job.TakeUser, s.job.Process.User.UID = user != 0, user
		got := s.script(t)
		got = slices.DeleteFunc(got, func(l string) bool { return strings.Contains(l, "Operation not permitted") })
		if diff := cmp.Diff([]string{"few", "node22"}, got); diff != "" {
			t.Errorf("user %d: %s", user, diff)
		}
	}
}

// A run reads what memory it may have, can't change it, and finds nothing else in /sys.
func TestRun_Memory(t *testing.T) {
	for _, c := range []struct {
		user          uint32
		userNamespace bool
	}{{4321, false}, {0, false}, {4321, true}} {
		s := newScene(t, testImage(t), `cd /sys/fs/cgroup; cat memory.max memory.high; for f in memory.max memory.high; do
			(echo max >$f) 2>/dev/null && echo WROTE; rm -f $f 2>/dev/null && echo REMOVED; ln -sf x $f 2>/dev/null && echo REPLACED; done
			mkdir x 2>/dev/null && echo MADE; mount -o remount,rw / 2>/dev/null && echo REMOUNTED
			cat memory.max; find /sys -type f; find /sys -type d | grep -v memory; exit 0`)
		s.Memory = 256 << 20
		s.job.TakeUser, s.job.Process.User.UID, s.UserNamespace = c.user != 0 && !c.userNamespace, c.user, c.userNamespace
		want := []string{"268435456", "268435456", "268435456", "/sys/fs/cgroup/memory.max", "/sys", "/sys/fs", "/sys/fs/cgroup"}
		if diff := cmp.Diff(want, s.script(t)); diff != "" {
			t.Errorf("%+v: %s", c, diff)
		}
	}
}

// The devices are the host's own files: with another mode /dev/null is nobody else's there.
func TestRun_Devices(t *testing.T) {
	for _, userNamespace := range []bool{false, true} {
		s := newScene(t, testImage(t), `for d in null zero full random urandom tty; do grep -c " /dev/$d ro," /proc/self/mountinfo; chmod 666 /dev/$d 2>&1 | grep -o Read-only; done | sort | uniq -c | tr -s ' '
			echo x > /dev/null && head -c 3 /dev/zero | wc -c`)
		s.job.TakeUser, s.UserNamespace = false, userNamespace
		want := []string{" 6 1", " 6 Read-only", "3"}
		if diff := cmp.Diff(want, s.script(t)); diff != "" {
			t.Errorf("user namespace %t: %s", userNamespace, diff)
		}
	}
}

func TestRun_NoOtherDescriptor(t *testing.T) {
	s := newScene(t, testImage(t), "ls /proc/self/fd | grep -v '^[0123]$' | wc -l")
	secret, err := os.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	s.extra = []*os.File{secret, secret, secret}
	// 3 is the directory.
	if got := s.script(t); !slices.Equal(got, []string{"0"}) {
		t.Errorf("descriptors beside stdio: %s", got)
	}
}

func TestRun_Sandbox(t *testing.T) {
	for user, caps := range map[uint32]string{4321: "0000000000000000", 0: ""} {
		s := newScene(t, testImage(t), "grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; unshare -m true 2>/dev/null && echo UNSHARED; exit 0")
		s.job.TakeUser, s.job.Process.User.UID = user != 0, user
		got := s.script(t)
		if user == 0 { // what container engines give, without SYS_ADMIN
			bits, err := strconv.ParseUint(strings.TrimSpace(strings.TrimPrefix(got[0], "CapEff:")), 16, 64)
			if err != nil || bits&(1<<unix.CAP_SYS_ADMIN|1<<unix.CAP_SYS_PTRACE|1<<unix.CAP_MKNOD|1<<unix.CAP_NET_ADMIN) != 0 || bits&(1<<unix.CAP_CHOWN) == 0 {
				t.Errorf("root in an image has capabilities %s", got[0])
			}
			got, caps = got[1:], "-"
		}
		want := []string{"NoNewPrivs:\t1", "Seccomp:\t2"}
		if caps != "-" {
			want = append([]string{"CapEff:\t" + caps}, want...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("user %d: %s", user, diff)
		}
	}
}

// Once the CLI runs, process 1 can mount no more than that.
func TestRun_Process1HasNoCapabilities(t *testing.T) {
	for user, want := range map[uint32]uint64{4321: 1 << unix.CAP_KILL, 0: 1 << unix.CAP_KILL, 1: 0} {
		s := newScene(t, testImage(t), "sleep 100")
		s.job.TakeUser, s.job.Process.User.UID = user == 4321, user
		if user == 1 {
			s.UserNamespace = true
		}
		s.before = func(status string) {
			pid := started(t, status)
			defer syscall.Kill(pid, syscall.SIGTERM)
			threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
			if err != nil || len(threads) == 0 {
				t.Fatal(threads, err)
			}
			for _, thread := range threads {
				text, err := os.ReadFile(thread)
				if err != nil {
					t.Fatal(err)
				}
				for _, set := range []string{"CapEff:\t", "CapPrm:\t"} {
					if line := fmt.Sprintf("%s%016x\n", set, want); !strings.Contains(string(text), line) {
						t.Errorf("user %d: %s: not %q in %s", user, thread, line, text)
					}
				}
			}
		}
		s.run(t)
	}
}

// All places together have one size.
func TestRun_Writable(t *testing.T) {
	got := newScene(t, testImage(t), `for d in /tmp /var/tmp /dev/shm /home/agent; do touch $d/x || echo CLOSED $d; done
		dd if=/dev/zero of=/tmp/a bs=1M count=5 2>/dev/null && echo first
		dd if=/dev/zero of=/home/agent/a bs=1M count=5 2>/dev/null || echo full
		rm /tmp/a /home/agent/a; dd if=/dev/zero of=/dev/shm/a bs=1M count=7 2>/dev/null && echo again
		stat -c %a:%u /tmp /home/agent /var/tmp; (touch /dev/x) 2>/dev/null && echo DEV; (touch /home/x) 2>/dev/null && echo HOME; exit 0`).script(t)
	if diff := cmp.Diff([]string{"first", "full", "again", "1777:4321", "700:4321", "1777:4321"}, got); diff != "" {
		t.Error(diff)
	}
}

// /var/tmp is a link to /tmp in many images, in some it is the other way round.
func TestRun_WritableByALink(t *testing.T) {
	for at, to := range map[string]string{"var/tmp": "../tmp", "tmp": "/var/tmp"} {
		image := testImage(t)
		if err := os.RemoveAll(filepath.Join(image, at)); err != nil {
			t.Fatal(err)
		}
		link(t, to, filepath.Join(image, at))
		got := newScene(t, image, "echo one > /tmp/x; cat /var/tmp/x; readlink /"+at+"; stat -c %a:%u /tmp/ /var/tmp/; touch /dev/shm/x /home/agent/x").script(t)
		if diff := cmp.Diff([]string{"one", to, "1777:4321", "1777:4321"}, got); diff != "" {
			t.Errorf("%s: %s", at, diff)
		}
	}
}

// A rootfs that is closed to all but its owner, as for its set-ID files, is none to the run.
func TestRun_ClosedImage(t *testing.T) {
	image := testImage(t)
	if err := os.Chmod(image, 0o700); err != nil {
		t.Fatal(err)
	}
	if got := newScene(t, image, "stat -c %a /; cat /etc/ssl/cert").script(t); !slices.Equal(got, []string{"755", "of the image"}) {
		t.Error(got)
	}
}

// A directory of the run's user that is made anew, for a mount in it, is still theirs to enter.
func TestRun_OwnDirectory(t *testing.T) {
	image := testImage(t)
	for name, uid := range map[string]int{"own": 4321, "others": 4322} {
		if err := errors.Join(os.MkdirAll(filepath.Join(image, name, "there"), 0o755), os.Chown(filepath.Join(image, name), uid, uid), os.Chmod(filepath.Join(image, name), 0o700)); err != nil {
			t.Fatal(err)
		}
	}
	s := newScene(t, image, "ls /own; ls /others/new 2>/dev/null || echo closed; stat -c %a /own /others; (touch /own/x) 2>/dev/null && echo WROTE; exit 0")
	s.UID = 4321
	s.Mounts = []Mount{{From: sourceOf(t, t.TempDir()), To: "/own/new", ReadOnly: true}, {From: sourceOf(t, t.TempDir()), To: "/others/new", ReadOnly: true}}
	if diff := cmp.Diff([]string{"new", "there", "closed", "705", "700"}, s.script(t)); diff != "" {
		t.Error(diff)
	}
}

func TestRun_Mounts(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	write(t, filepath.Join(dir, "file"), "of the host\n", 0o644)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s := newScene(t, testImage(t), `cat `+dir+`/file /srv/deep/er/file /home/agent/.config/x/file /etc/one; touch `+dir+`/new && echo rw; (touch /srv/deep/er/new) 2>/dev/null || echo ro
		touch /home/agent/.config/mine && echo mine; stat -c %a:%u /home/agent/.config; cat /usr/lib/deep/file /usr/lib/deep/made/file; ls /usr/lib/deep; pwd; ls -a /srv`)
	s.job.Process.Cwd = dir
	s.Mounts = []Mount{
		{From: sourceOf(t, dir), To: dir}, {From: sourceOf(t, dir), To: "/srv/deep/er", ReadOnly: true},
		{From: sourceOf(t, dir), To: "/home/agent/.config/x"}, {From: sourceOf(t, filepath.Join(dir, "file")), To: "/etc/one", ReadOnly: true},
		{From: sourceOf(t, dir), To: "/lib/deep/made", ReadOnly: true}, // through a link of the image's
	}
	want := []string{"of the host", "of the host", "of the host", "of the host", "rw", "ro", "mine", "755:4321", "deep", "of the host", "file", "made", dir, ".", "..", "deep"}
	if diff := cmp.Diff(want, s.script(t)); diff != "" {
		t.Error(diff)
	}
}

// A kept home with another mount in it: what lacks a place there gets one, and no link of a
// run's is followed to it.
func TestRun_MountInMount(t *testing.T) {
	for _, userNamespace := range []bool{false, true} {
		dir := t.TempDir()
		open(t, dir)
		for _, name := range []string{"home/has", "shared", "elsewhere"} {
			if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Chown(filepath.Join(dir, name), 4321, 4321); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(filepath.Join(dir, "home"), 4321, 4321); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "shared/file"), "shared\n", 0o644)
		s := newScene(t, testImage(t), `cat ~/.cli/file ~/has/file ~/deep/er/file ~/one; touch ~/.cli/new ~/mine && echo written; (touch ~/one) 2>/dev/null || echo ro`)
		s.UserNamespace, s.job.TakeUser = userNamespace, !userNamespace
		s.job.Process.Env = append(s.job.Process.Env, "HOME=/home/agent")
		s.Mounts = []Mount{
			{From: sourceOf(t, filepath.Join(dir, "home")), To: "/home/agent"}, {From: sourceOf(t, filepath.Join(dir, "shared")), To: "/home/agent/.cli"},
			{From: sourceOf(t, filepath.Join(dir, "shared")), To: "/home/agent/has", ReadOnly: true}, {From: sourceOf(t, filepath.Join(dir, "shared")), To: "/home/agent/deep/er"},
			{From: sourceOf(t, filepath.Join(dir, "shared/file")), To: "/home/agent/one", ReadOnly: true},
		}
		if err := os.Chmod(filepath.Join(dir, "shared"), 0o777); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"shared", "shared", "shared", "shared", "written", "ro"}, s.script(t)); diff != "" {
			t.Errorf("user namespace %v: %s", userNamespace, diff)
		}
		for name, there := range map[string]bool{"shared/new": true, "home/mine": true, "home/deep/er": true, "home/.cli": true, "home/.cli/new": false, "elsewhere/new": false} {
			var is unix.Stat_t
			if err := unix.Stat(filepath.Join(dir, name), &is); (err == nil) != there || there && is.Uid != 4321 {
				t.Errorf("user namespace %v: %s: %v, user %d", userNamespace, name, err, is.Uid)
			}
		}
		for _, swap := range []string{"home/.cli", "home/deep"} {
			if err := os.RemoveAll(filepath.Join(dir, swap)); err != nil {
				t.Fatal(err)
			}
			link(t, "/usr/lib", filepath.Join(dir, swap))
			s.before = nil
			if got := s.run(t); got.status.Failed == nil || !strings.Contains(got.status.Failed.Message, "not a directory") {
				t.Errorf("user namespace %v: %s is a link: %+v", userNamespace, swap, got)
			}
			if err := os.Remove(filepath.Join(dir, swap)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A daemon that is no root needs a user namespace, and has the same.
func TestRun_UserNamespace(t *testing.T) {
	image := testImage(t)
	before := tree(t, image)
	s := newScene(t, image, `id -u; touch /tmp/a /home/agent/b /dev/shm/c && echo writes; (echo x > /proc/sys/kernel/hostname) 2>/dev/null && echo WROTE
		grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/self/status; ls /proc/1/fd/ >/dev/null 2>&1 && readlink /proc/1/fd/3; (touch /usr/x) 2>/dev/null && echo IMAGE; stat -c %u /home/agent; ls /home/agent/.x`)
	s.job.TakeUser, s.UserNamespace = false, true
	dir := t.TempDir()
	open(t, dir)
	s.Mounts = []Mount{{From: sourceOf(t, dir), To: "/home/agent/.x"}}
	want := []string{"4321", "writes", "CapEff:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "4321"}
	if diff := cmp.Diff(want, s.script(t)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(before, tree(t, image)); diff != "" {
		t.Errorf("the image is another: %s", diff)
	}
}
