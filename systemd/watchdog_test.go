package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

func TestWatchdog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	w, err := NewWatchdog()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		well         bool
		status, want string
		age          time.Duration // of the last sign of life
	}{
		{true, "ok", "STATUS=ok\nWATCHDOG=1", time.Hour},
		{true, "ok", "", 0},
		{true, "busy", "STATUS=busy", 0},
		{true, "busy", "WATCHDOG=1", time.Second},
		{false, "busy", "", time.Hour},
		{false, "wedged", "STATUS=wedged", time.Hour},
		{true, "wedged", "WATCHDOG=1", time.Hour},
	} {
		w.last = time.Now().Add(-row.age)
		if err := w.Beat(row.well, row.status); err != nil {
			t.Fatal(err)
		}
		if err := manager.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 256)
		n, _ := manager.Read(buf)
		if string(buf[:n]) != row.want {
			t.Errorf("%+v: sent %q", row, buf[:n])
		}
	}
	t.Setenv("WATCHDOG_USEC", "soon")
	if _, err := NewWatchdog(); err == nil {
		t.Error("no number is no error")
	}
}
