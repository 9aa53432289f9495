package systemd

import (
	"fmt"
	"strings"

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

// notify sends to $NOTIFY_SOCKET; not being started by systemd is no error.
func notify(state string) error {
	if _, err := daemon.SdNotify(false, state); err != nil {
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
