package daemon

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// handoverMax is how long a handover may take on a machine with much to do.
const handoverMax = 90 * time.Second

// HandOver has the daemon execute its program anew, and waits until that serves.
func (d *Daemon) HandOver() {
	d.tb.Helper()
	done := d.said("handed over")
	d.signal(unix.SIGUSR2)
	d.awaitSaid("handed over", done+1)
}

func (d *Daemon) signal(sig os.Signal) {
	d.tb.Helper()
	if err := d.Cmd.Process.Signal(sig); err != nil {
		d.tb.Fatal(err)
	}
}

// said counts the log lines of one message.
func (d *Daemon) said(msg string) int { return strings.Count(d.Log(), `"msg":"`+msg+`"`) }

func (d *Daemon) awaitSaid(msg string, times int) {
	d.tb.Helper()
	if err := Eventually(handoverMax, func() error {
		select {
		case <-d.exited:
			return nil
		default:
		}
		if d.said(msg) < times {
			return fmt.Errorf("not %q yet", msg)
		}
		return nil
	}); err != nil || d.said(msg) < times {
		d.tb.Fatalf("%v\n%s", err, d.Log())
	}
}
