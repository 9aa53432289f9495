package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
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

	"golang.org/x/sys/unix"

	"penstock/config"
)

// stuck is a file that takes nothing until it is let.
type stuck struct {
	let chan struct{}
	mu  sync.Mutex
	got bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.let
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func (s *stuck) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.String()
}

func gapOf(lines uint64) []byte { return fmt.Appendf(nil, "gap of %d\n", lines) }

// What a file doesn't take is kept up to a bound, and the gap is told at its place.
func TestSink_DropsAndCounts(t *testing.T) {
	to := &stuck{let: make(chan struct{})}
	s := newSink(to, gapOf)
	line := []byte(strings.Repeat("x", 999) + "\n")
	const lines = 4000
	for i := range lines {
		if n, err := s.Write(line); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
		if i == 0 { // what comes while it is on its way finds the whole room
			eventually(t, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.pending) == 0 })
		}
	}
	lost := s.state()
	if !lost.Losing || lost.Dropped == 0 || lost.Dropped >= lines-sinkMax/1000 {
		t.Fatalf("%+v", lost)
	}
	close(to.let)
	s.flush(t.Context())
	if _, err := s.Write([]byte("after\n")); err != nil {
		t.Fatal(err)
	}
	s.flush(t.Context())
	want := strings.Repeat(string(line), lines-int(lost.Dropped)) + string(gapOf(lost.Dropped)) + "after\n"
	if got := to.String(); got != want {
		t.Errorf("%d bytes, want %d; the end is %q", len(got), len(want), got[max(0, len(got)-50):])
	}
	if now := s.state(); now.Losing || now.Dropped != lost.Dropped {
		t.Errorf("%+v", now)
	}
}

// parts takes a few bytes at a time, and none in between.
type parts struct {
	bytes.Buffer
	calls int
}

func (p *parts) Write(b []byte) (int, error) {
	if p.calls++; p.calls%2 == 0 {
		return 0, &os.PathError{Op: "write", Err: unix.EAGAIN}
	}
	n := min(len(b), 7)
	p.Buffer.Write(b[:n])
	if n < len(b) {
		return n, &os.PathError{Op: "write", Err: unix.EAGAIN}
	}
	return n, nil
}

func TestNewLogger_Durations(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	log, to := newLogger(w, config.Log{Level: "info", Format: "json"}, new(slog.LevelVar))
	log.Info("later", "again_in", 90*time.Second)
	to.flush(t.Context())
	if line, err := bufio.NewReader(r).ReadString('\n'); err != nil || !strings.Contains(line, `"again_in":"1m30s"`) {
		t.Errorf("%s, %v", line, err)
	}
}

func TestSink_WholeLines(t *testing.T) {
	to := new(parts)
	s := newSink(to, gapOf)
	for i := range 3 {
		fmt.Fprintf(s, "line %d\n", i)
	}
	s.flush(t.Context())
	if to.String() != "line 0\nline 1\nline 2\n" || s.state().Dropped > 0 {
		t.Errorf("%q, %+v", to, s.state())
	}
}

type refusing struct{}

func (refusing) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestSink_Refused(t *testing.T) {
	s := newSink(refusing{}, gapOf)
	fmt.Fprint(s, "a\n")
	s.flush(t.Context())
	if s.state().Dropped != 1 {
		t.Errorf("%+v", s.state())
	}
}

// readers are what a daemon's stdout and stderr lead to: ours, and the daemon's
// end, both of them full.
var readers = map[string]func(t *testing.T) (ours, its *os.File){
	"pipe": func(t *testing.T) (*os.File, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		return r, w
	},
	"socket": func(t *testing.T) (*os.File, *os.File) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "its")
	},
}

// fill writes until a file takes no more.
func fill(t *testing.T, f *os.File) {
	t.Helper()
	fd := int(f.Fd())
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for _, piece := range []string{strings.Repeat("full\n", 800), "\n"} {
		var err error
		for err == nil {
			_, err = unix.Write(fd, []byte(piece))
		}
		if err != unix.EAGAIN {
			t.Fatal(err)
		}
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		t.Fatal(err)
	}
}

// unread is a daemon whose stdout and stderr are full, and what they lead to.
func unread(t *testing.T, kind string) (cmd *exec.Cmd, url string, ours *os.File) {
	t.Helper()
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	config := filepath.Join(dir, "c.toml")
	if err := os.WriteFile(config, []byte("listen = \"unix:"+socket+"\"\nstate_dir = \""+dir+"/state\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	ours, its := readers[kind](t)
	defer its.Close()
	t.Cleanup(func() { _ = ours.Close() })
	fill(t, its)
	cmd = program(t, "serve", "--config", config, "--banner", "--isolation.self-test", "false")
	cmd.Stdout, cmd.Stderr = its, its
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	return cmd, socket, ours
}

func ended(cmd *exec.Cmd) <-chan error {
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	return done
}

// Nothing that serves or ends waits for a log line that is not taken.
func TestServe_BlockedLog(t *testing.T) {
	t.Parallel() // it waits more than it works
	for kind := range readers {
		t.Run(kind, func(t *testing.T) {
			cmd, socket, ours := unread(t, kind)
			exit := ended(cmd)
			client := overSocket(socket)
			ask := func(path string) string {
				t.Helper()
				for late := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
					reply, err := client.Get("http://penstock" + path)
					if err == nil {
						text, err := io.ReadAll(reply.Body)
						_ = reply.Body.Close()
						if err == nil && reply.StatusCode == http.StatusOK {
							return string(text)
						}
					}
					if time.Now().After(late) {
						t.Fatalf("%s: %v", path, err)
					}
				}
			}
			const losing = "log: what it is written to takes no lines"
			n := 0
			for ; n < 2000 || n < 50_000 && !strings.Contains(ask("/health"), losing); n++ {
				ask("/v1/models")
			}
			if h := ask("/health"); !strings.Contains(h, losing) {
				t.Errorf("after %d requests health says nothing of it: %s", n, h)
			}
			if m := regexp.MustCompile(`(?m)^penstock_log_lines_dropped_total [1-9]`); !m.MatchString(ask("/metrics")) {
				t.Error("not counted")
			}
			// It is read again: the gap is told, and what comes is there.
			lines := make(chan string)
			go func() {
				defer close(lines)
				for in := bufio.NewScanner(ours); in.Scan(); {
					lines <- in.Text()
				}
			}()
			told := false
			for late := time.After(30 * time.Second); !told; {
				select {
				case line := <-lines:
					told = strings.Contains(line, "log lines dropped")
				case <-late:
					t.Fatal("the gap is not told")
				}
			}
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			last := ""
			for line := range lines {
				last = line
			}
			if !strings.Contains(last, `"msg":"stopped"`) {
				t.Errorf("the last line is %q", last)
			}
			wantExit(t, exit, 0)
		})
	}
}

// A daemon ends, also where its log takes nothing.
func TestServe_EndWithBlockedLog(t *testing.T) {
	t.Parallel() // it waits more than it works
	for _, row := range []struct {
		name   string
		signal syscall.Signal
		code   int
		gone   bool // its reader
	}{
		{"SIGTERM", syscall.SIGTERM, 0, false},
		{"SIGTERM, its reader has gone", syscall.SIGTERM, 0, true},
		{"the runtime's own last words", syscall.SIGQUIT, 2, false},
	} {
		for kind := range readers {
			t.Run(row.name+", "+kind, func(t *testing.T) {
				cmd, socket, ours := unread(t, kind)
				exit := ended(cmd)
				client := overSocket(socket)
				for late := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
					reply, err := client.Get("http://penstock/readyz")
					if err == nil {
						_ = reply.Body.Close()
						break
					}
					if time.Now().After(late) {
						t.Fatal(err)
					}
				}
				if row.gone {
					_ = ours.Close()
					reply, err := client.Get("http://penstock/v1/models")
					if err != nil {
						t.Fatal(err)
					}
					_ = reply.Body.Close()
				}
				if err := cmd.Process.Signal(row.signal); err != nil {
					t.Fatal(err)
				}
				wantExit(t, exit, row.code)
				// One that died has left its empty groups.
				if out, err := program(t, "reap", "--state-dir", filepath.Join(filepath.Dir(socket), "state")).CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
		}
	}
}

func wantExit(t *testing.T, exit <-chan error, code int) {
	t.Helper()
	select {
	case err := <-exit:
		got := 0
		if status, ok := errors.AsType[*exec.ExitError](err); ok {
			got = status.ExitCode()
		}
		if got != code {
			t.Errorf("exit status %d (%v), want %d", got, err, code)
		}
	case <-time.After(60 * time.Second):
		t.Error("it does not end")
	}
}

func overSocket(path string) *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		},
	}}
}
