package bundle

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/internal/imagetest"
	"penstock/internal/memfd"
	"penstock/sandbox/bubblewrap"
	"penstock/sandbox/pid1"
)

const playProcess1 = "play-process1"

// program is a program that calls pid1.Main, with its arguments: this test binary itself
// in the lab, where it is static and there is no compiler, or one built once.
var program = sync.OnceValues(func() ([]string, error) {
	if lab() {
		return []string{"/proc/self/exe", playProcess1}, nil
	}
	dir, err := os.MkdirTemp("", "pid1-")
	if err != nil {
		return nil, err
	}
	programDir = dir
	to := filepath.Join(dir, "pid1")
	c := exec.Command("go", "build", "-o", to, "../../cmd/process1")
	c.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off")
	if out, err := c.CombinedOutput(); err != nil {
		return nil, &exec.Error{Name: string(out), Err: err}
	}
	return []string{to}, nil
})

// programDir is to be removed after all tests.
var programDir string

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == playProcess1 {
		os.Exit(pid1.Main())
	}
	code := m.Run()
	if programDir != "" {
		_ = os.RemoveAll(programDir)
	}
	os.Exit(code)
}

// lab says that the machine must be able to do everything: no test may skip.
func lab() bool { return os.Getenv("PENSTOCK_LAB") == "1" }

// needBubblewrap is its path, for tests that start it as root.
func needBubblewrap(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("bwrap")
	if err == nil {
		var help []byte
		if help, err = exec.Command(path, "--help").CombinedOutput(); err == nil && !bytes.Contains(help, []byte("--bind-fd")) {
			t.Skip("needs a bubblewrap with --bind-fd")
		}
	}
	if err != nil {
		if lab() {
			t.Fatal(err)
		}
		t.Skipf("needs bubblewrap: %v", err)
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: takes other users' rights")
	}
	return path
}

// testImage is a small root file system, whose programs are busybox.
func testImage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(imagetest.Busybox(t))
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	open(t, root)
	for _, dir := range []string{"usr/bin", "usr/lib/deep", "etc/ssl", "var/tmp", "var/lib", "run", "root", "home", "proc", "dev"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(root, "usr/bin/busybox"), string(text), 0o755)
	for _, applet := range []string{"sh", "true", "ls", "cat", "mount", "umount", "id", "sleep", "touch", "rm", "mkdir", "readlink", "stat", "find", "grep", "kill", "dd", "ps", "hostname", "mknod", "unshare", "ln", "df", "pwd", "echo", "wc"} {
		link(t, "busybox", filepath.Join(root, "usr/bin", applet))
	}
	link(t, "usr/bin", filepath.Join(root, "bin"))
	link(t, "/usr/lib", filepath.Join(root, "lib"))
	link(t, "/usr/sbin", filepath.Join(root, "hostlink")) // what it leads to is on the host alone
	link(t, "../run/resolv.conf", filepath.Join(root, "etc/resolv.conf"))
	write(t, filepath.Join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnode:x:4321:4321::/home/node:/bin/sh\n", 0o644)
	write(t, filepath.Join(root, "etc/ssl/cert"), "of the image\n", 0o644)
	write(t, filepath.Join(root, "usr/lib/deep/file"), "deep\n", 0o644)
	return root
}

// open lets another user come to a test's directory.
func open(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, path string) {
	t.Helper()
	if err := os.Symlink(to, path); err != nil {
		t.Fatal(err)
	}
}

// scene is a run to be started.
type scene struct {
	Options
	job    pid1.Job
	group  *os.File // a cgroup's directory; nil is this process's
	extra  []*os.File
	before func(status string) // when it is started
}

// newScene has a run of a shell script.
func newScene(t *testing.T, image, script string) *scene {
	files, err := Supplied(image, "node22", Person{UID: 4321, GID: 4321, Home: "/home/agent"}, true)
	if err != nil {
		t.Fatal(err)
	}
	return &scene{
		Options: Options{Image: image, Home: "/home/agent", Hostname: "node22", Files: files, Writable: 8 << 20},
		job: pid1.Job{
			TakeUser: true, ReadonlyPaths: []string{"/proc/sys", "/proc/sysrq-trigger"},
			Process: &specs.Process{
				Args: []string{"sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin", "HOME=/home/agent"},
				User: specs.User{UID: 4321, GID: 4321},
			},
		},
	}
}

type result struct {
	out, told string
	status    pid1.Status
	state     *os.ProcessState
	err       []byte // bubblewrap's, and the byte that says started
}

// Descriptors of the child, in order.
const (
	argsFD = pid1.StderrFD + 1 + iota
	programFD
	bwrapStatusFD
	firstFD
)

// run starts bubblewrap with what New has laid out, and waits for it.
func (s *scene) run(t *testing.T) result {
	t.Helper()
	bwrap := needBubblewrap(t)
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	s.FirstFD = firstFD
	b, err := New(s.Options)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s.job.Writable, s.job.UserNamespace = b.Writable, s.UserNamespace
	d := bubblewrap.Descriptors{Args: argsFD, Program: programFD, Status: bwrapStatusFD}
	text, err := bubblewrap.Args(b.Spec, d)
	if err != nil {
		t.Fatal(err)
	}
	args, err := memfd.Sealed("args", text)
	if err != nil {
		t.Fatal(err)
	}
	defer args.Close()
	job, err := s.job.File()
	if err != nil {
		t.Fatal(err)
	}
	defer job.Close()
	status, err := os.OpenFile(filepath.Join(t.TempDir(), "status"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer status.Close()
	pid1File, err := os.Open(path[0])
	if err != nil {
		t.Fatal(err)
	}
	defer pid1File.Close()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	argv := bubblewrap.Argv(bwrap, d, path[1:]...)
	if s.UserNamespace { // as a daemon that is no root, on a host where nothing lies over /proc
		argv = append([]string{"/usr/bin/unshare", "--mount", "/bin/sh", "-ec", `mount -t proc proc "$0"; exec setpriv --reuid 4321 --regid 4321 --clear-groups --no-new-privs -- "$@"`, t.TempDir()}, argv...)
	}
	c := exec.Command(argv[0], argv[1:]...)
	c.Env = []string{}
	told, err := os.Create(filepath.Join(t.TempDir(), "err"))
	if err != nil {
		t.Fatal(err)
	}
	defer told.Close()
	c.Stdout, c.Stderr = out, told
	c.ExtraFiles = append([]*os.File{job, status, out, args, pid1File, status}, b.Files...)
	c.ExtraFiles = append(c.ExtraFiles, s.extra...)
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if s.group != nil {
		c.SysProcAttr.UseCgroupFD, c.SysProcAttr.CgroupFD = true, int(s.group.Fd())
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if s.before != nil {
		s.before(status.Name())
	}
	_ = c.Wait() // told in the state
	r := result{state: c.ProcessState}
	if r.err, err = os.ReadFile(told.Name()); err != nil {
		t.Fatal(err)
	}
	if _, err := status.Seek(0, 0); err != nil {
		t.Fatal(err)
	}
	if r.status, err = pid1.Read(status); err != nil {
		t.Fatal(err)
	}
	text, err = os.ReadFile(status.Name())
	if err != nil {
		t.Fatal(err)
	}
	printed, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	r.told, r.out = string(text)+string(r.err), string(printed)
	return r
}

// script runs a script and wants it to end well.
func (s *scene) script(t *testing.T) []string {
	t.Helper()
	r := s.run(t)
	if !r.status.Ended || r.status.Code != 0 {
		t.Fatalf("%s\nstatus: %s", r.out, r.told)
	}
	return strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
}
