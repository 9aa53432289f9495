package server

import (
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"penstock/config"
	"penstock/internal/imagetest"
	"penstock/internal/procinfo"
)

// A root daemon's run as another user has that user's rights, inside and for what it gets.
func TestInImage_AsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to become another user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Skipf("needs a user nobody: %v", err)
	}
	uid, err := strconv.Atoi(nobody.Uid)
	if err != nil {
		t.Fatal(err)
	}
	closed := t.TempDir()
	if err := os.Mkdir(filepath.Join(closed, "in"), 0o777); err != nil {
		t.Fatal(err)
	}
	for dir, mode := range map[string]os.FileMode{closed: 0o700, filepath.Dir(closed): 0o755} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	var work string
	s, _ := inImage(t, func(c *config.Config, b *config.Backend) {
		work, b.User, b.Home = c.WorkspaceRoots[0], "nobody", "private"
		if err := os.Chown(work, uid, -1); err != nil {
			t.Fatal(err)
		}
		shut := *b
		shut.Name, shut.Mounts = "shut", []config.Mount{{From: filepath.Join(closed, "in"), To: "/x", Mode: "rw"}}
		c.Backends["shut"] = shut
	})
	r := s.chat("box", `id -u; echo $USER; touch ~/x $TMPDIR/x /tmp/x /dev/shm/x here && echo written; grep -E '^Cap(Eff|Bnd)' /proc/self/status | tr -d '0\t\n'; echo; (echo 1 >/proc/sys/kernel/hostname) 2>/dev/null || echo closed; ls -ld /proc/1/fd >/dev/null; ls /proc/1/fd 2>/dev/null | wc -l`, false, `,"cwd":"`+work+`"`)
	if want := nobody.Uid + "\nnobody\nwritten\nCapEff:CapBnd:\nclosed\n0\n"; r.text != want {
		t.Errorf("%q, want %q: %+v", r.text, want, r.err)
	}
	if info, err := os.Stat(filepath.Join(work, "here")); err != nil || info.Sys().(*syscall.Stat_t).Uid != uint32(uid) {
		t.Errorf("%v %v", err, info)
	}
	if r := s.chat("shut", "echo x", false, ""); r.status != 503 || !strings.Contains(r.err.Message, "permission denied") {
		t.Errorf("what that user can't open: %d %+v", r.status, r.err)
	}
}

// The same tests for a daemon without root, whose runs have a user namespace.
func TestInImage_WithoutRoot(t *testing.T) {
	const asUser = "PENSTOCK_AS_USER"
	if os.Getenv(asUser) != "" || os.Geteuid() != 0 {
		t.Skip("needs root, to begin with")
	}
	group := userGroup(t)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	tmp, err := os.MkdirTemp("/tmp", "server-user")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	if err := os.Chown(tmp, userID, userID); err != nil {
		t.Fatal(err)
	}
	program, err := imagetest.Built()
	if err != nil {
		if os.Getenv("PENSTOCK_LAB") != "1" { // where the test binary is the program
			t.Fatal(err)
		}
		program = ""
	}
	id := strconv.Itoa(userID)
	// With a /proc in its mount namespace over which nothing lies, which a container may lack.
	c := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-ec",
		`mkdir "$0/proc"; mount -t proc proc "$0/proc"; exec setpriv --reuid `+id+` --regid `+id+` --clear-groups /proc/self/fd/3 -test.v -test.run "^TestInImage"`, tmp)
	c.ExtraFiles = []*os.File{self}
	c.Env = append(os.Environ(), asUser+"=1", imagetest.BuiltVariable+"="+program, "TMPDIR="+tmp, "HOME="+tmp, "USER=")
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := c.CombinedOutput()
	passed := strings.Count(string(out), "--- PASS: TestInImage")
	if err != nil || passed < 8 {
		t.Errorf("as uid %d: %v, %d passed:\n%s", userID, err, passed, out)
	}
}

const userID = 12345

// userGroup is a group of this host's that belongs to that user.
func userGroup(t *testing.T) string {
	t.Helper()
	mounts, err := procinfo.Host.Mounts()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		group := filepath.Join(m.Point, "server-test-user")
		if m.FSType != "cgroup2" || os.Mkdir(group, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { eventually(t, "the user's group removed", func() bool { return syscall.Rmdir(group) == nil }) })
		for _, path := range []string{group, group + "/cgroup.procs", group + "/cgroup.subtree_control", group + "/cgroup.threads"} {
			if err := os.Chown(path, userID, userID); err != nil {
				t.Fatal(err)
			}
		}
		return group
	}
	t.Skip("this machine has no cgroup v2 tree to make groups in")
	return ""
}
