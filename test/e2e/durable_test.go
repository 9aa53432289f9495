package e2e

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
)

// moments are when the daemon dies, after the request; 0 is once five deltas
// have come. The early ones take a conversational CLI while it is still being
// told its prompt; PENSTOCK_MOMENTS=all tries them with each.
func moments(cli string) []time.Duration {
	if cli == "codex" || os.Getenv("PENSTOCK_MOMENTS") == "all" {
		return []time.Duration{0, 30 * time.Millisecond, 150 * time.Millisecond, 400 * time.Millisecond, time.Second}
	}
	return []time.Duration{0}
}

// The daemon is killed while a real CLI answers: the next one goes on with it,
// conversational or not.
func TestDurableRunSurvivesTheDaemon(t *testing.T) {
	survives(t, six(), nil, func(t *testing.T, w *world) {
		dead := w.Exited()
		if err := w.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Error(err)
		}
		<-dead
	}, func(t *testing.T, w *world) { w.Daemon = w.Restart(t) })
}

// So it does when the daemon is replaced, with an image that is more than a FIFO holds.
func TestDurableRunSurvivesAHandover(t *testing.T) {
	survives(t, three(), [][]byte{picture(t, 200)}, func(_ *testing.T, w *world) { w.HandOver() }, func(*testing.T, *world) {})
}

// born waits until the run's group has a process.
func born(t *testing.T, w *world, id string) {
	if err := daemon.Eventually(long, func() error {
		pids, err := os.ReadFile(filepath.Join(w.Root(), "runs", id, "cgroup.procs"))
		if err == nil && len(pids) == 0 {
			err = errors.New("no process yet")
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

// survives cuts each run off at its moments, has the next daemon start, and wants
// the whole answer.
func survives(t *testing.T, clis []string, images [][]byte, cut, next func(*testing.T, *world)) {
	const words = 20
	for _, cli := range clis {
		t.Run(cli, func(t *testing.T) {
			w := begin(t, "")
			body := asking(cli, parts(fmt.Sprintf("SCN=long N=%d DELAY=80 SEES please", words), images, nil), map[string]any{"stream": true})
			for i, after := range moments(cli) {
				id := fmt.Sprintf("durable-%s-%d", cli, i)
				dead := make(chan struct{})
				die := sync.OnceFunc(func() {
					go func() { // the reply goes on meanwhile
						defer close(dead)
						cut(t, w)
					}()
				})
				if after > 0 {
					time.AfterFunc(after, func() {
						born(t, w, id) // a run that is recorded and was not born yet is lost
						die()
					})
				}
				a, _ := w.Durable(bounded(t, long), id, "", body, func(a *daemon.Answer) {
					if after == 0 && strings.Contains(a.Text, "tok4 ") {
						die()
					}
				})
				<-dead
				next(t, w)
				if a == nil {
					a = &daemon.Answer{} // not even headers
				}
				last := ""
				if len(a.IDs) > 0 {
					last = a.IDs[len(a.IDs)-1]
				}
				rest, err := w.Durable(bounded(t, long), id, last, body, nil)
				if err != nil || rest.Error != nil || rest.Finish != "stop" || !rest.Done {
					t.Errorf("cut off after %v: %v %+v %+v", after, err, rest.Error, rest)
					continue
				}
				whole := a.Text + rest.Text
				for n := range words {
					if tok := fmt.Sprintf("tok%d ", n); strings.Count(whole+" ", tok) != 1 {
						t.Errorf("cut off after %v: %q has %q not once", after, whole, tok)
						break
					}
				}
				if !strings.Contains(whole, sees(images...)) {
					t.Errorf("cut off after %v: %q", after, whole)
				}
				if err := w.WaitEmpty(2 * time.Second); err != nil {
					t.Errorf("cut off after %v: %v", after, err)
				}
			}
		})
	}
}
