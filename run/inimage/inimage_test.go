package inimage

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/image"
	"penstock/sandbox"
)

// scene is a run to be entered.
type scene struct {
	Image
	held *image.Image
	run  Run
	dir  string
}

func newScene(t testing.TB) *scene {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"root/bin", "root/etc", "state/runs/r/tmp", "work", "kept", "cache"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "root/bin/cli"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS"} {
		t.Setenv(name, "")
	}
	state := filepath.Join(dir, "state")
	return &scene{
		dir: dir, held: &image.Image{Use: &image.Use{Record: image.Record{Env: []string{"A=image", "B=image", "HOME=/x"}}, Rootfs: filepath.Join(dir, "root")}, Name: "tiny", Home: "/home/agent"},
		run: Run{
			StateDir: state, Dir: state + "/runs/r", Tmp: state + "/runs/r/tmp", Cwd: filepath.Join(dir, "work"), Program: "cli", Memory: 64 << 20,
		},
	}
}

func (s *scene) enter(t *testing.T) (*Entry, error) {
	t.Helper()
	e, err := s.enterOnce(t)
	if err == nil {
		t.Cleanup(func() {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	return e, err
}

func (s *scene) enterOnce(t testing.TB) (*Entry, error) {
	t.Helper()
	var err error
	if s.run.Status, err = os.Create(filepath.Join(s.dir, "status")); err != nil {
		t.Fatal(err)
	}
	return s.Image.Enter(s.held, s.run)
}

// mounts are those of an entry as from, to and mode, without the test's own directory.
func (s *scene) mounts(e *Entry) (all []string) {
	for _, m := range e.Image.Root.Mounts {
		mode := " rw"
		if m.ReadOnly {
			mode = " ro"
		}
		all = append(all, strings.ReplaceAll(m.From.Name()+" "+m.To+mode, s.dir, ""))
	}
	return all
}

func TestEnter_Environment(t *testing.T) {
	s := newScene(t)
	s.Login = "me"
	s.run.Env = []string{"B=backend", "C=backend", "USER=other", "TMPDIR=/x"}
	e, err := s.enter(t)
	if err != nil {
		t.Fatal(err)
	}
	own := firstField(e.Image.Root.Files["/etc/passwd"])
	want := []string{"A=image", "B=backend", "HOME=/home/agent", "C=backend", "USER=" + own, "TMPDIR=" + s.run.Tmp, "LOGNAME=" + own, "PATH=" + image.DefaultPath}
	if diff := cmp.Diff(want, e.Env); diff != "" {
		t.Error(diff)
	}
	if e.Image.Root.Memory != 64<<20 || e.Image.Root.Writable != 16<<20 || e.Image.Root.Program != "/bin/cli" || own != "me" {
		t.Errorf("%+v", e.Image.Root)
	}
	s.held.Writable = 1 << 30
	s.held.Env = []string{"PATH=/opt"}
	if e, err = s.enter(t); err != nil || e.Image.Root.Writable != 64<<20 || !slices.Contains(e.Env, "PATH=/opt") || e.Image.Root.Program != "" {
		t.Errorf("%v %+v", err, e)
	}
}

func TestEnter_Mounts(t *testing.T) {
	s := newScene(t)
	for _, name := range []string{"cache/ca.pem", "ca.pem", "work/ca.pem"} {
		if err := os.WriteFile(filepath.Join(s.dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("NODE_EXTRA_CA_CERTS", s.dir+"/ca.pem")
	t.Setenv("SSL_CERT_FILE", s.dir+"/work/ca.pem")
	t.Setenv("CURL_CA_BUNDLE", s.dir+"/cache/ca.pem")
	t.Setenv("REQUESTS_CA_BUNDLE", "/no/such")
	t.Setenv("SSL_CERT_DIR", "relative:"+os.DevNull)
	s.run.Env = []string{"PIP_CERT=" + s.dir + "/kept"} // the configuration's: a path inside
	for _, name := range []string{"NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"} {
		s.run.Env = append(s.run.Env, name+"="+os.Getenv(name))
	}
	s.run.Home = s.dir + "/kept"
	s.Mounts = []Mount{{From: s.dir + "/cache", To: s.dir + "/cache", ReadOnly: true}}
	e, err := s.enter(t)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/cache /cache ro", "/kept /home/agent rw", "/state/runs/r /state/runs/r rw", "/work /work rw", "/ca.pem /ca.pem ro"}
	if diff := cmp.Diff(want, s.mounts(e)); diff != "" {
		t.Error(diff)
	}
	s.run.Cwd = s.dir + "/cache/below"
	if err := os.Mkdir(s.run.Cwd, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.enter(t); err == nil || !strings.Contains(err.Error(), "which is read-only") {
		t.Errorf("a cwd in a read-only mount: %v", err)
	}
	s.Mounts[0].ReadOnly = false
	if e, err = s.enter(t); err != nil {
		t.Fatal(err)
	}
	want = []string{"/cache /cache rw", "/kept /home/agent rw", "/state/runs/r /state/runs/r rw", "/ca.pem /ca.pem ro", "/work/ca.pem /work/ca.pem ro"}
	if diff := cmp.Diff(want, s.mounts(e)); diff != "" {
		t.Errorf("a cwd that is there by a mount: %s", diff)
	}
	s.Mounts[0].From += "/gone"
	if _, err := s.enter(t); err == nil || !strings.Contains(err.Error(), "image tiny: mount "+s.dir+"/cache") {
		t.Errorf("a mount that isn't there: %v", err)
	}
}

// What links that runs could write led to at the daemon's start is the operator's; what they lead
// to later is not.
func TestEnter_LinkedCertificates(t *testing.T) {
	s := newScene(t)
	if err := os.Chmod(s.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"ca.pem": "extracted/ca.pem", "certs": "extracted"} {
		if err := os.Symlink(target, filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(s.dir+"/extracted", 0o755), os.WriteFile(s.dir+"/extracted/ca.pem", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SSL_CERT_FILE", s.dir+"/./ca.pem")
	t.Setenv("SSL_CERT_DIR", "/no/such:"+s.dir+"/certs")
	s.run.Env = []string{"SSL_CERT_FILE=" + os.Getenv("SSL_CERT_FILE"), "SSL_CERT_DIR=" + os.Getenv("SSL_CERT_DIR")}
	const refusal = "is a link, in a directory that runs could write"
	if _, err := s.enter(t); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("links that were not there at the start: %v", err)
	}
	s.Certificates = Certificates()
	enter := func() []string {
		e, err := s.enter(t)
		if err != nil {
			t.Fatal(err)
		}
		return s.mounts(e)[2:]
	}
	want := []string{"/extracted/ca.pem /ca.pem ro", "/extracted /certs ro"}
	if diff := cmp.Diff(want, enter()); diff != "" {
		t.Error(diff)
	}
	if err := errors.Join(os.Remove(s.dir+"/ca.pem"), os.Symlink("/etc/shadow", s.dir+"/ca.pem")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, enter()); diff != "" {
		t.Errorf("a link that was swapped: %s", diff)
	}
	if err := os.Remove(s.dir + "/extracted/ca.pem"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.enter(t); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("what it led to is gone: %v", err)
	}
}

// The run works in the directory that was checked, or not at all.
func TestEnter_CwdMoved(t *testing.T) {
	s := newScene(t)
	fd, err := unix.Open(s.run.Cwd, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.run.Held = os.NewFile(uintptr(fd), s.run.Cwd)
	defer s.run.Held.Close()
	if _, err := s.enter(t); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(s.run.Cwd, s.run.Cwd+"-was"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(s.run.Cwd, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.enter(t); !errors.Is(err, sandbox.ErrMoved) {
		t.Errorf("another directory of that name: %v", err)
	}
	if err := os.Remove(s.run.Cwd); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(s.run.Cwd+"-was", s.run.Cwd); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chmod(s.dir, 0o777); err != nil { // so that runs could have put the link there
			t.Fatal(err)
		}
	}
	if _, err := s.enter(t); err == nil {
		t.Error("a link of that name was followed")
	}
}
