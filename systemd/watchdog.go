package systemd

import (
	"fmt"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// Watchdog keeps systemd's watchdog quiet (WatchdogSec=, sd_watchdog_enabled(3))
// as long as Beat is called and all is well. Safe for concurrent use.
type Watchdog struct {
	every time.Duration // 0: there is no watchdog

	mu     sync.Mutex
	last   time.Time
	status string
}

// NewWatchdog reads what systemd asks of this process; not being watched is no error.
func NewWatchdog() (*Watchdog, error) {
	within, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return nil, fmt.Errorf("watchdog: %w", err)
	}
	return &Watchdog{every: within / 3}, nil
}

// Beat sends a status when it has changed, and, where well, keeps the watchdog
// quiet. Call it more often than every third of WatchdogSec.
func (w *Watchdog) Beat(well bool, status string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	state := ""
	if status != w.status {
		state = "STATUS=" + oneLine(status)
	}
	if now := time.Now(); well && w.every > 0 && now.Sub(w.last) >= w.every {
		w.last = now
		if state != "" {
			state += "\n"
		}
		state += daemon.SdNotifyWatchdog
	}
	if state == "" {
		return nil
	}
	w.status = status
	return notify(state)
}
