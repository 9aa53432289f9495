package server

import (
	"os"
	"strings"
	"testing"
	"time"

	"penstock/config"
)

// A second stop ends at once what has a long grace and ignores SIGTERM, whenever
// it comes, and every stream is told.
func TestSecondStopEndsAtOnce(t *testing.T) {
	for _, row := range []struct {
		name  string
		drain time.Duration
		state string // of the runs when the second stop comes
	}{
		{"while it drains", time.Hour, "running"},
		{"in the grace", time.Millisecond, "ending"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := serve(t, func(c *config.Config) {
				c.DrainTimeout.Duration = row.drain
				b := c.Backends["lines"]
				b.Limits.Grace.Duration = time.Hour
				c.Backends["lines"] = b
			})
			deaf := t.TempDir() // a file of each run that hears no SIGTERM from now on
			stays := `trap "" TERM; : >` + deaf + `/$$; echo '{"text":"begun"}'; while :; do sleep 0.02; done`
			answers := make(chan result, 3)
			for _, stream := range []bool{true, true, false} {
				go func() { answers <- s.chat("lines", stays, stream, "") }()
			}
			eventually(t, "they run", func() bool {
				entries, err := os.ReadDir(deaf)
				return err == nil && len(entries) == 3
			})
			s.stop()
			eventually(t, "they are "+row.state, func() bool {
				return s.healthNow().Status == "draining" && strings.Count(s.ask("GET", "/v1/runs", "").body, `"state":"`+row.state+`"`) == 3
			})
			s.force()
			for range 3 {
				select {
				case r := <-answers:
					if r.code() != "shutting_down" || (r.status == 200) != r.done {
						t.Errorf("%+v", r)
					}
				case <-time.After(patience):
					t.Fatal("a client was told nothing")
				}
			}
			s.end()
		})
	}
}
