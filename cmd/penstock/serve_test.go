package main

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/cgroup"
	"penstock/cgroup/root"
)

// session is a daemon in a process of its own.
type session struct {
	cmd    *exec.Cmd
	banner string
	url    string
	log    *watched
	ended  chan error
}

// watched is a log that a test can wait on.
type watched struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{}
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case w.grown <- struct{}{}:
	default:
	}
	return w.text.Write(p)
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *watched) waitFor(t *testing.T, want string) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !strings.Contains(w.String(), want) {
		select {
		case <-w.grown:
		case <-late:
			t.Fatalf("no %q in the log:\n%s", want, w)
		}
	}
}

// program is a command of the real program: the test binary is it, under its
// name (see TestMain). The name must be a file's, for the demo backend is
// started by it.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	self := filepath.Join(dir, "penstock")
	if err := os.Link(os.Args[0], self); err != nil {
		binary, err := os.ReadFile(os.Args[0])
		if err == nil {
			err = os.WriteFile(self, binary, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	return cmd
}

func startServe(t *testing.T, config string) *session {
	t.Helper()
	host, err := root.Host()
	if err != nil {
		t.Fatal(err)
	}
	if !host.Supports(cgroup.Available) {
		t.Skipf("no groups can be made on this machine: %+v", host.Facts)
	}
	s := &session{log: &watched{grown: make(chan struct{}, 1)}, ended: make(chan error, 1)}
	s.cmd = program(t, "serve", "--config", config, "--banner", "--isolation.self-test", "false")
	s.cmd.Stderr = s.log
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	for range 3 {
		line, err := lines.ReadString('\n')
		s.banner += line
		if err != nil {
			break
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, lines) // Wait closes the pipe
		s.ended <- s.cmd.Wait()
	}()
	t.Cleanup(func() { _ = s.cmd.Process.Kill() }) // it has ended in all but failed tests
	m := regexp.MustCompile(`on (http://127\.0\.0\.1:\d+)\n`).FindStringSubmatch(s.banner)
	if m == nil {
		t.Fatalf("banner %q; log:\n%s", s.banner, s.log)
	}
	s.url = m[1]
	return s
}

func (s *session) signal(t *testing.T, sig syscall.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

func (s *session) wantEnd(t *testing.T, bound time.Duration) {
	t.Helper()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Fatalf("ended with %v; log:\n%s", err, s.log)
		}
	case <-time.After(bound):
		t.Fatalf("still there after %v; log:\n%s", bound, s.log)
	}
}

func TestServe(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "c.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(config, []byte("listen = \"127.0.0.1:0\"\nstate_dir = \""+dir+"/state\"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("")
	s := startServe(t, config)
	if !strings.Contains(s.banner, "\nlimits: ") || !strings.Contains(s.banner, "\nbackends: demo") {
		t.Errorf("banner:\n%s", s.banner)
	}
	reply, err := http.Get(s.url + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_ = reply.Body.Close() // only the status matters
	if reply.StatusCode != http.StatusOK {
		t.Errorf("/livez: %s", reply.Status)
	}
	if s.log.String() == "" || !strings.HasPrefix(s.log.String(), "{") {
		t.Errorf("the log is no JSON on a pipe:\n%s", s.log)
	}

	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, "nothing changed")
	write("drain_timeout = \"3s\"\n[limits]\npids_max = 7\n")
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, `"changed":["drain_timeout","limits.pids_max"]`)
	write("lisen = 1")
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, "unknown key (hint: did you mean listen?)")

	out, err := program(t, "reap", "--state-dir", dir+"/state").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a daemon is running on it") {
		t.Errorf("reap beside a live daemon: %v: %s", err, out)
	}

	s.signal(t, syscall.SIGTERM)
	s.wantEnd(t, 30*time.Second)
	lines := strings.Split(strings.TrimSpace(s.log.String()), "\n")
	if n := strings.Count(s.log.String(), `"msg":"draining"`); n != 1 || !strings.Contains(lines[len(lines)-1], `"msg":"stopped"`) {
		t.Errorf("draining is told %d times; log:\n%s", n, s.log)
	}
	if !strings.Contains(s.log.String(), "signal: terminated; a second one ends all runs at once") {
		t.Errorf("the end has no cause in the log:\n%s", s.log)
	}

	out, err = program(t, "reap", "--state-dir", dir+"/state").CombinedOutput()
	if err != nil || !strings.Contains(string(out), ": 0 groups removed, 0 processes ended") {
		t.Errorf("reap after a clean end: %v: %s", err, out)
	}
}

func TestReap_AfterCrash(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(config, []byte("listen = \"127.0.0.1:0\"\nstate_dir = \""+dir+"/state\"\n[limits]\nmemory_max = \"256M\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startServe(t, config)
	request := `{"model":"demo","stream":true,"messages":[{"role":"user","content":"hello\n/sleep 300"}]}`
	reply, err := http.Post(s.url+"/v1/chat/completions", "application/json", strings.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer reply.Body.Close()
	for lines := bufio.NewScanner(reply.Body); !strings.Contains(lines.Text(), "hello"); {
		if !lines.Scan() {
			t.Fatalf("no answer: %v; log:\n%s", lines.Err(), s.log)
		}
	}
	s.signal(t, syscall.SIGKILL)
	<-s.ended
	out, err := program(t, "reap", "--state-dir", dir+"/state").CombinedOutput()
	if err != nil || !strings.Contains(string(out), ": 1 group removed, 1 process ended") {
		t.Errorf("reap after a crash: %v: %s", err, out)
	}
	out, err = program(t, "reap", "--state-dir", dir+"/state").CombinedOutput()
	if err != nil || !strings.Contains(string(out), ": 0 groups removed, 0 processes ended") {
		t.Errorf("the second reap: %v: %s", err, out)
	}
}

func TestSignals(t *testing.T) {
	hups := make(chan struct{}, 1)
	s := followSignals(t.Context(), catch(), slog.New(slog.DiscardHandler), func() { hups <- struct{}{} })
	send := func(sig syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	send(syscall.SIGHUP)
	<-hups
	if s.serving.Err() != nil {
		t.Fatal("SIGHUP ends serving")
	}
	send(syscall.SIGUSR2)
	<-s.handover
	send(syscall.SIGTERM)
	<-s.serving.Done()
	send(syscall.SIGUSR2) // too late: nothing is to take it
	if s.force.Err() != nil {
		t.Fatal("the first signal forces")
	}
	send(syscall.SIGINT)
	<-s.force.Done()
	if !s.end() || len(s.handover) > 0 {
		t.Error("a stop and a handover")
	}
}

// However many hang-ups come, and however long one takes, a stop is heard, and so
// is a handover.
func TestSignals_StopAmongHangUps(t *testing.T) {
	begun, let := make(chan struct{}, 100), make(chan struct{})
	s := followSignals(t.Context(), catch(), slog.New(slog.DiscardHandler), func() {
		begun <- struct{}{}
		<-let
	})
	send := func(sig syscall.Signal) {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
	}
	for range 8 {
		send(syscall.SIGHUP)
	}
	<-begun
	for range 8 {
		send(syscall.SIGHUP)
	}
	send(syscall.SIGUSR2)
	<-s.handover
	send(syscall.SIGTERM)
	<-s.serving.Done()
	send(syscall.SIGINT)
	<-s.force.Done()
	if !s.end() {
		t.Error("no stop")
	}
	close(let)
}
