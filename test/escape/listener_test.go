package escape

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"penstock/test/escape/task"
)

// oblige listens and starts a marked process, outside of every run, for
// whoever sends a token: a container engine, a tmux server, a service manager
// at their worst.
func oblige(t *testing.T, program, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				token, err := bufio.NewReader(conn).ReadString('\n')
				if err != nil {
					return
				}
				c := exec.Command(program, task.Linger, strings.TrimSpace(token))
				if c.Start() != nil {
					return
				}
				_, _ = conn.Write([]byte("+")) // who asked may have left
				_ = c.Wait()                   // it is killed
			}()
		}
	}()
	return l
}

// sockets puts listeners where nobody real listens on this guest, open to
// everybody: what is asked is whether a run can reach the path.
func (h *host) sockets(t *testing.T, uid int) {
	t.Helper()
	if !h.lab {
		return // not on somebody's machine
	}
	for _, name := range task.SocketNames() {
		h.listen(t, task.SocketPath(name, uid))
	}
}

// listen makes one such listener; where somebody real listens there is none.
func (h *host) listen(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Lstat(path); err == nil || !h.lab {
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	oblige(t, h.attempt(), "unix", path)
	if err := os.Chmod(path, 0o777); err != nil {
		t.Fatal(err)
	}
}
