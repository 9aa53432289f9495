package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"penstock/test/daemon"
)

// What was refused before a start is asked for again by each stock client, and then
// works: while the queue is full (429; 529 of messages), and while the daemon is restarted (503).
func TestRefusedBeforeTheStart(t *testing.T) {
	t.Parallel() // clients that wait
	ways := bothWays(stocks()...)
	keys := make(map[way]string)
	var tokens, config strings.Builder
	for i, c := range ways {
		keys[c] = fmt.Sprintf("token-%d-of-sixteen-letters", i)
		fmt.Fprintf(&tokens, "client%d:%s\n", i, keys[c])
		fmt.Fprintf(&config, "[clients.client%d]\nmax_runs = 1\n", i)
	}
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte(tokens.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	top := fmt.Sprintf("tokens_file = %q\ndrain_timeout = \"60s\"\n", file)
	full := strings.Replace(tight, "max_waiting = 1000", "max_waiting = 0", 1)
	d := daemon.Start(t, daemon.Options{Config: top + scripted(t) + full + config.String()})
	clients := openSDKs(t)
	// occupied has each client run something until all of them have been refused for that reason.
	occupied := func(t *testing.T, reason string) {
		free := filepath.Join(t.TempDir(), "free")
		for _, key := range keys {
			req := d.Request(bounded(t, long), daemon.Body("scripted", "DO{{until [ -e "+free+" ]; do sleep 0.1; done; ended}}", nil))
			req.Header.Set("Authorization", "Bearer "+key)
			go func() { _, _ = daemon.Read(req, nil) }()
		}
		if err := daemon.Eventually(long, func() error {
			if n := len(d.Groups()); n != len(ways) {
				return fmt.Errorf("%d runs", n)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		go func() {
			_ = daemon.Eventually(long, func() error {
				if n := strings.Count(d.Log(), reason); n < len(ways) {
					return fmt.Errorf("%d refused", n)
				}
				return nil
			})
			if err := os.WriteFile(free, nil, 0o600); err != nil {
				t.Error(err)
			}
		}()
	}
	ask := func() []*held {
		return clients.all(ways, func(c way) conversation {
			return conversation{BaseURL: d.URL, APIKey: keys[c], Model: "scripted", Turns: says("DO{{text well; ended}}")}
		})
	}
	well := func(t *testing.T, h *held) {
		if s := h.turns[0]; s.Error != nil || s.Finish != h.good() || s.Text != "well" || s.Requests < 2 {
			t.Errorf("%d requests: %v", s.Requests, s)
		}
	}
	ask() // a program that is still starting would be refused when others have given up
	t.Run("queue full", func(t *testing.T) {
		occupied(t, `"cause":"queue_full"`)
		each(t, ask(), well)
	})
	t.Run("restart", func(t *testing.T) {
		occupied(t, `"code":"shutting_down"`)
		if err := d.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		d.AwaitLog("drain")
		asked := make(chan []*held)
		go func() { asked <- ask() }()
		<-d.Exited()
		d.Restart(t)
		each(t, <-asked, well)
	})
}
