package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"penstock/test/daemon"
)

// The provider's refusals are told as what they are, in bounded time, in each dialect:
// before the first byte of the answer, and after it.
func TestModelErrors(t *testing.T) {
	w := begin(t, "")
	clients := openSDKs(t)
	causes := map[string]string{"e401": "provider_auth", "e429": "provider_rate_limit", "e500": "provider_error"}
	early := []string{"e401", "e429", "e500"}
	for i, cli := range six() {
		t.Run(cli, func(t *testing.T) {
			t.Parallel() // some try for half a minute
			warm(t, w, cli)
			// Each CLI meets each refusal, and each dialect each refusal, streamed and whole, of some CLI.
			scenario := func(c way) string { return early[(i+dialect(c))%len(early)] }
			var first []way
			for n, c := range leaders() {
				first = append(first, way{c, (i+n)%2 == 0})
			}
			each(t, clients.all(first, func(c way) conversation {
				return conversation{BaseURL: w.URL, Model: cli, Turns: says("SCN=" + scenario(c))}
			}), func(t *testing.T, h *held) {
				s := h.turns[0]
				if s.Requests != 1 || !strings.Contains(s.failed(), causes[scenario(h.way)]) || s.Text != "" {
					t.Errorf("%s, %d requests: %v", scenario(h.way), s.Requests, s)
				}
			})
			each(t, clients.all(streamed(leaders()...), func(way) conversation {
				return conversation{BaseURL: w.URL, Model: cli, Turns: says("SCN=mid N=3 DELAY=20")}
			}), func(t *testing.T, h *held) {
				s := h.turns[0]
				if s.Requests != 1 || !strings.Contains(s.failed(), "provider_") {
					t.Errorf("in mid-stream, %d requests: %v", s.Requests, s)
				}
			})
		})
	}
}

// dialect is the place of the client's dialect among them.
func dialect(c way) int {
	return slices.IndexFunc(leaders(), func(l stock) bool { return l.dialect == c.dialect })
}

// The client leaves, in mid-stream or while it waits for a whole answer: the CLI and all
// below it are gone within a second.
func TestDisconnect(t *testing.T) {
	w := begin(t, "")
	clients := openSDKs(t)
	for i, cli := range three() {
		t.Run(cli, func(t *testing.T) {
			warm(t, w, cli)
			some := streamed(leaders()...)
			some = append(some, way{leaders()[i%len(leaders())], false})
			each(t, clients.all(some, func(c way) conversation {
				asked := conversation{BaseURL: w.URL, Model: cli, Turns: says("SCN=long N=200 DELAY=100"), AbortDeltas: 2}
				if !c.stream {
					asked.AbortMillis = 1500
				}
				return asked
			}), func(t *testing.T, h *held) {
				if s := h.turns[0]; s.Error == nil || s.Error.Class != "left" || h.stream && s.Deltas < 2 {
					t.Errorf("the answer ended by itself: %v", s)
				}
			})
			if err := daemon.Eventually(time.Second, func() error {
				if pids := w.Pids(""); len(pids) > 0 {
					return fmt.Errorf("processes %v", pids)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
			if err := w.WaitEmpty(grace); err != nil {
				t.Error(err)
			}
			if err := daemon.Eventually(grace, func() error {
				causes := lastCauses(t, w.Daemon, len(some))
				if slices.ContainsFunc(causes, func(c string) bool { return c != "client_gone" }) {
					return fmt.Errorf("causes %v", causes)
				}
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}

// lastCauses are those of the last runs.
func lastCauses(t *testing.T, d *daemon.Daemon, most int) []string {
	t.Helper()
	_, list, err := d.Get(fmt.Sprintf("/v1/runs?limit=%d", most))
	if err != nil {
		t.Fatal(err)
	}
	var causes []string
	runs, _ := list["data"].([]any)
	for _, r := range runs {
		run, _ := r.(map[string]any)
		causes = append(causes, fmt.Sprint(run["cause"]))
	}
	return causes
}
