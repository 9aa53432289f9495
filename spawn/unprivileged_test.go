package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"penstock/cgroup"
	"penstock/internal/masktest"
	"penstock/sandbox"
)

const nobody = 12345

// TestSpawn_WithoutRoot runs the cage as a daemon without root: in a group delegated to an
// unprivileged uid, this test binary starts itself as that uid.
func TestSpawn_WithoutRoot(t *testing.T) {
	if os.Getenv("PENSTOCK_AS_USER") == "1" {
		asUser(t)
		return
	}
	needRoot(t)
	s := open(t, false)
	group := delegate(t, s)
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	dir, err := os.Open(group)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	tmp, err := os.MkdirTemp("/tmp", "spawn-user")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	if err := os.Chown(tmp, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/proc/self/fd/3", "-test.run=^TestSpawn_WithoutRoot$", "-test.v")
	cmd.Dir, cmd.ExtraFiles = tmp, []*os.File{self}
	cmd.Env = append(os.Environ(), "PENSTOCK_AS_USER=1", "TMPDIR="+tmp, "HOME="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		UseCgroupFD: true, CgroupFD: int(dir.Fd()),
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody},
	}
	out, err := cmd.CombinedOutput()
	t.Logf("as uid %d:\n%s", nobody, out)
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSpawn_WithoutRoot") {
		t.Errorf("as uid %d: %v", nobody, err)
	}
}

// delegate makes a group below the spawner's root and gives it to nobody.
func delegate(t *testing.T, s *Spawner) string {
	t.Helper()
	return delegateIn(t, s.root.Path())
}

func delegateIn(t *testing.T, dir string) string {
	t.Helper()
	group := filepath.Join(dir, "user")
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		eventually(t, "delegated group removed", func() bool { return syscall.Rmdir(group) == nil })
	})
	for _, path := range []string{group, group + "/cgroup.procs", group + "/cgroup.subtree_control", group + "/cgroup.threads"} {
		if err := os.Chown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
	return group
}

func asUser(t *testing.T) {
	if os.Geteuid() != nobody {
		t.Fatalf("uid %d", os.Geteuid())
	}
	d := masktest.New(t)
	s := openHiding(t, cgroup.Available, true, maskOf(d))
	t.Logf("escape proofing: %s", s.launcher.State().Escape)
	if i := s.Isolation(); len(i.Hidden) > 0 || !slices.Contains(i.Reachable, d.At("door.sock")) || !slices.Contains(i.Reachable, d.At("own/server")) {
		t.Errorf("hidden %v, reachable %v", i.Hidden, i.Reachable)
	}
	out, o := newJob(t, "run_user", fmt.Sprintf("for p in %[1]s/cgroup.procs %[1]s/../cgroup.procs; do (echo $$ >$p) 2>/dev/null && echo DID; done; (echo 987 >/proc/$PPID/oom_score_adj) 2>/dev/null && echo DID; (cat /proc/$PPID/environ) >/dev/null 2>&1 && echo DID; setsid sleep 600 & cat /proc/self/cgroup", s.root.Path())).run(s)
	if o.Survived != 1 {
		t.Errorf("survived %d", o.Survived)
	}
	if s.launcher.State().Works {
		if s.launcher.State().Escape != sandbox.EscapeUser {
			t.Errorf("escape proofing %q", s.launcher.State().Escape)
		}
		if at := unifiedPath(out); strings.Contains(out, "DID") || !strings.HasSuffix(at, "/run_user") {
			t.Errorf("a child got out:\n%s", out)
		}
	} else if !strings.HasPrefix(s.launcher.State().Escape, "none: ") || !strings.Contains(s.launcher.State().Escape, "landlock") {
		t.Errorf("escape proofing %q does not say why there is none", s.launcher.State().Escape)
	} else if lab() {
		strictRefuses(t, s)
	}
}

// strictRefuses: where nothing keeps a child in, strict mode does not start.
func strictRefuses(t *testing.T, s *Spawner) {
	t.Helper()
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	strict, err := Open(t.Context(), Options{Cgroup: cgroup.Options{Mode: cgroup.Strict, Name: rootName()}})
	if err == nil {
		t.Error("strict mode opened without escape proofing")
		err = strict.Close(t.Context())
	}
	if err == nil || !strings.Contains(err.Error(), "escape proofing none: ") {
		t.Errorf("refusal %v", err)
	}
}
