package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// daemon is the built one, with a state directory of its own.
type daemon struct {
	url string
	pid int
	end func()
}

// startDaemon takes a configuration without listen and state_dir, and returns
// when the daemon is ready.
func startDaemon(binary, config string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "penstock-bench-")
	if err != nil {
		return nil, err
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "penstock.toml")
	text := fmt.Sprintf("listen = [%q]\nstate_dir = %q\n", addr, filepath.Join(dir, "state")) + config
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, "serve", "--config", file)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &daemon{url: "http://" + addr, pid: cmd.Process.Pid, end: func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = os.RemoveAll(dir)
	}}
	if err := ready(d.url); err != nil {
		d.end()
		return nil, fmt.Errorf("%w: %s", err, log.String())
	}
	return d, nil
}

func ready(url string) error {
	for range 500 {
		if resp, err := http.Get(url + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return nil
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("%s/readyz: not ready after 10 s", url)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// resident is VmRSS in bytes.
func (d *daemon) resident() float64 {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.pid))
	_, rest, _ := strings.Cut(string(raw), "VmRSS:")
	var kib float64
	_, _ = fmt.Sscan(rest, &kib)
	return kib * 1024
}
