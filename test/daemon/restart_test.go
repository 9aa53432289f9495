package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The daemon is killed at any moment while a durable run's CLI, which has forgotten
// its session, is started anew: the run is neither lost nor run twice.
func TestForgottenSessionAndADeadDaemon(t *testing.T) {
	dir := t.TempDir()
	acts, cli := filepath.Join(dir, "acts"), filepath.Join(dir, "cli")
	// The session is its argument. With one that it has forgotten it takes its time
	// to say so, and to go.
	script := `#!/bin/sh
cat > /dev/null
if [ -z "$AGENT_SESSION" ] || ! [ -e ` + dir + `/forget ]; then
	echo act >> ` + acts + `
	echo '{"session":"cli-1"}'
	sleep 0.3
	echo '{"text":"acted","done":true}'
	exit 0
fi
sleep 0.1
echo '{"error":{"message":"no such session","session_unknown":true}}'
sleep 60
`
	if err := os.WriteFile(cli, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	d := Start(t, Options{Config: fmt.Sprintf("[limits]\nmemory_max = \"64MiB\"\n[backends.small]\nkind = \"jsonl\"\ncommand = [%q]\n", cli)})
	count := func() int {
		data, _ := os.ReadFile(acts)
		return strings.Count(string(data), "\n")
	}
	rounds, lost := 12, 0
	for i := range rounds {
		if err := os.RemoveAll(filepath.Join(dir, "forget")); err != nil {
			t.Fatal(err)
		}
		extra := map[string]any{"session_id": fmt.Sprint("s", i), "stream": true}
		first, err := d.Chat(context.Background(), Body("small", "first", extra), nil)
		if err != nil || first.Text != "acted" {
			t.Fatalf("first turn: %v %+v", err, first)
		}
		if err := os.WriteFile(filepath.Join(dir, "forget"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		before := count()
		id, body := fmt.Sprint("again-", i), Body("small", "second", extra)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = d.Durable(context.Background(), id, "", body, nil) // it is cut
		}()
		for end := time.Now().Add(20 * time.Second); len(d.Pids(id)) == 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(i) * 30 * time.Millisecond)
		if err := d.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-d.Exited()
		<-ended
		d = d.Restart(t)
		a, err := d.Durable(context.Background(), id, "", body, nil)
		if err == nil && a.Code() == "lost" && count() == before {
			lost++ // between the last note of a birth and the birth; the client is told that it can't be known
			continue
		}
		if err != nil || a.Error != nil || a.Text != "acted" || a.Finish != "stop" {
			t.Errorf("killed after %d ms: %v %+v %+v", i*30, err, a, a.Error)
		}
		if n := count() - before; n != 1 {
			t.Errorf("killed after %d ms: acted %d times", i*30, n)
		}
		if _, record, err := d.Get("/v1/runs/" + id); err != nil || record["session_restarted"] != true {
			t.Errorf("killed after %d ms: record %v %v", i*30, record, err)
		}
	}
	if lost > 2 {
		t.Errorf("%d of %d runs lost", lost, rounds)
	}
	t.Logf("%d of %d runs were killed between the last note of a birth and the birth", lost, rounds)
}
