package systemd

import (
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Ready says that requests are served, with a status for `systemctl status`.
func Ready(status string) error { return notify(daemon.SdNotifyReady + "\nSTATUS=" + oneLine(status)) }

// Reloading says that the configuration is read again, until Reloaded. Both
// Type=notify and Type=notify-reload take it.
func Reloading() error {
	return notify(daemon.SdNotifyReloading + "\n" + strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
}

// Reloaded ends Reloading; the status stays what it was.
func Reloaded() error { return notify(daemon.SdNotifyReady) }

// Stopping says that the daemon has begun to end.
func Stopping(status string) error {
	return notify(daemon.SdNotifyStopping + "\nSTATUS=" + oneLine(status))
}

// Status replaces the status line.
func Status(status string) error { return notify("STATUS=" + oneLine(status)) }

// notifyMax is how long a service manager that takes nothing is waited for.
const notifyMax = 500 * time.Millisecond

// notify sends to $NOTIFY_SOCKET (sd_notify(3)); not being started by systemd is
// no error. The library's own would wait for ever where the socket is full.
func notify(state string) error {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	defer conn.Close()
	err = conn.SetWriteDeadline(time.Now().Add(notifyMax))
	if err == nil {
		_, err = conn.Write([]byte(state))
	}
	if err != nil {
		return fmt.Errorf("notify systemd: %w", err)
	}
	return nil
}

// oneLine keeps a status from being read as further assignments.
func oneLine(s string) string {
	out := []rune(s)
	for i, r := range out {
		if r < ' ' {
			out[i] = ' '
		}
	}
	return string(out)
}
