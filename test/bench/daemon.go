package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// server is a process that answers HTTP: Penstock, or an anchor.
type server struct {
	url    string
	took   time.Duration // from its start to its first answer
	cmd    *exec.Cmd
	log    *bytes.Buffer
	exited chan struct{}
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// end stops it and waits for that.
func (s *server) end() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	<-s.exited
}

// start begins a process that ends with this one, and not before: a signal to this one's
// process group, as timeout(1) and a terminal send it, would end it in the middle of a row,
// which would fail for want of it instead of being interrupted.
func start(cmd *exec.Cmd) (*server, error) {
	s := &server{cmd: cmd, log: new(bytes.Buffer), exited: make(chan struct{})}
	cmd.Stderr = s.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(s.exited)
	}()
	return s, nil
}

// startPenstock takes a configuration without listen and state_dir; its state is
// in dir, also what an earlier one has left there.
func startPenstock(binary, dir, config string, env ...string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "penstock.toml")
	text := fmt.Sprintf("listen = [%q]\nstate_dir = %q\nworkspace_roots = [%q]\n", addr, filepath.Join(dir, "state"), dir) + config
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "serve", "--config", file)
	own := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "PENSTOCK_") })
	cmd.Env = append(own, env...)
	return startServer(cmd, "http://"+addr, "/readyz")
}

// daemon is one of those that are measured, with the name of its side.
type daemon struct {
	name string
	*server
}

// lastWords is how it has ended, and the end of its log: what the reason is of a row
// that failed by a connection.
func (d daemon) lastWords() string {
	return fmt.Sprintf("%s: %v: %s", d.name, d.cmd.ProcessState, tail(d.log.String()))
}

// startDaemons starts all with the same configuration, each with its state in a
// directory of its own below dir.
func (b *bench) startDaemons(dir, config string, env ...string) (all []daemon, end func(), err error) {
	end = func() {
		for _, d := range all {
			d.end()
		}
	}
	for _, s := range b.sides() {
		d, err := startPenstock(s.binary, filepath.Join(dir, s.name), config, env...)
		if err != nil {
			return all, end, fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, daemon{s.name, d})
		b.daemons = all
	}
	return all, end, nil
}

// startServer returns when a GET of path is answered.
func startServer(cmd *exec.Cmd, url, path string) (*server, error) {
	begun := time.Now()
	s, err := start(cmd)
	if err != nil {
		return nil, err
	}
	s.url = url
	err = s.answers(path)
	s.took = time.Since(begun)
	if err != nil {
		s.end()
		return nil, fmt.Errorf("%s: %w: %s", cmd.Path, err, tail(s.log.String()))
	}
	return s, nil
}

// startAnchor starts this program as another one, which tells its address.
func startAnchor(args ...string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, append([]string{"anchor"}, args...)...)
	stdout, told, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	cmd.Stdout = told
	s, err := start(cmd)
	told.Close()
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		s.end()
		return nil, fmt.Errorf("anchor %s: %w: %s", args[0], err, tail(s.log.String()))
	}
	s.url = strings.TrimSpace(line)
	return s, nil
}

// startMost is far more than a daemon needs that has 100 000 runs to look at.
const startMost = 5 * time.Minute

func (s *server) answers(path string) (err error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for end := time.Now().Add(startMost); time.Now().Before(end); time.Sleep(time.Millisecond) {
		select {
		case <-s.exited:
			return errors.New("it has ended")
		default:
		}
		var resp *http.Response
		if resp, err = client.Get(s.url + path); err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode < 500 {
			return nil
		}
		err = errors.New(resp.Status)
	}
	return fmt.Errorf("%s: no answer after %v: %w", s.url+path, startMost, err)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// tail is the end of a log.
func tail(log string) string { return log[max(0, len(log)-2000):] }

// startJudge starts go-judge; what it answers first is any path.
func (b *bench) startJudge() (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(b.goJudge, "-http-addr", addr, "-silent")
	return startServer(cmd, "http://"+addr, "/version")
}

// startBridge starts cli-bridge with a program in place of claude.
func (b *bench) startBridge(dir, claude string) (*server, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	host, port, _ := strings.Cut(addr, ":")
	cmd := exec.Command(b.bridge)
	cmd.Env = append(os.Environ(), "BRIDGE_HOST="+host, "BRIDGE_PORT="+port, "BRIDGE_DATA_DIR="+dir,
		"BRIDGE_BACKENDS=claude", "CLAUDE_BIN="+claude, "BRIDGE_HOST_CHAT_MAX_QUEUE=64")
	return startServer(cmd, "http://"+addr, "/health")
}
