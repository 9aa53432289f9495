package chaos

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"penstock/test/daemon"
)

// world is one daemon and all that is known of it from outside.
type world struct {
	*daemon.Daemon
	tb      testing.TB
	root    string // of its groups
	mark    string // in the environment of every child
	kernel  bool   // holds the limits; else our watch does
	patient bool   // a daemon that can't be asked is soon there again
	disk    string // a directory on a file system whose pages can be reclaimed; "" where there is none
	shared  string // a directory that runs in images have, too
	boxed   int    // of a hundred runs so many are in an image
	inBox   atomic.Int64
}

// free is the client without a cap of its own.
const free = "free"

// token is the secret of one client.
func token(client string) string { return "secret-of-" + client }

// open starts a daemon whose shells take the prompt as their script.
func open(t testing.TB, budget string, clients []string) *world {
	t.Helper()
	dir := t.TempDir()
	bin := daemon.Binary(t)
	var secrets, caps strings.Builder
	for _, c := range clients {
		fmt.Fprintf(&secrets, "%s:%s\n", c, token(c))
		if c != free {
			fmt.Fprintf(&caps, "[clients.%s]\nmax_runs = 1\n", c)
		}
	}
	tokens := filepath.Join(dir, "tokens")
	write(t, tokens, secrets.String(), 0o600)
	bare := filepath.Join(dir, "bare")
	write(t, bare, "#!/no/such/interpreter\n", 0o755)
	disk := reclaimable(t)
	state := disk
	if state == "" {
		state = dir
	}
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	w := &world{tb: t, disk: disk, shared: shared, boxed: inImages(t), mark: fmt.Sprintf("chaos-%d-%s", os.Getpid(), filepath.Base(dir))}
	images := ""
	if w.boxed > 0 {
		images = boxes(t, shared, w.mark)
	}
	w.Daemon = daemon.Start(t, daemon.Options{Bare: true, Config: fmt.Sprintf(configText, filepath.Join(state, "state"), tokens, budget, caps.String(),
		shell("sh", "exec", w.mark, ""), shell("lines", "jsonl", w.mark, ""),
		shell("tight", "exec", w.mark, `output_max = "256KiB"`), shell("still", "exec", w.mark, `stall_timeout = "2s"`),
		bin, w.mark, bare) + images})
	w.root, w.kernel = w.Root(), w.Enforces()
	if !w.kernel && os.Getenv("PENSTOCK_LAB") != "" {
		t.Fatal("the lab's kernel does not enforce memory and pids")
	}
	return w
}

const configText = `
state_dir = %q
tokens_file = %q
drain_timeout = "1s"
first_byte_after = "5m"
[log]
format = "json"
level = "debug"
[budget]
memory = %q
[queue]
max_waiting = 8
[keep]
runs = 2000
[limits]
memory_max = "64MiB"
pids_max = 64
timeout = "5m"
grace = "500ms"
%s
%s
%s
%s
%s
[backends.busy]
kind = "jsonl"
command = [%q, "demo"]
set_env = { CHAOS = %q }
[backends.busy.limits]
stall_timeout = "2s"
[backends.ghost]
kind = "exec"
command = ["/no/such/program"]
[backends.bare]
kind = "exec"
command = [%q]
`

func shell(name, kind, mark, limits string) string {
	return fmt.Sprintf("[backends.%s]\nkind = %q\ncommand = [\"/bin/sh\"]\nset_env = { CHAOS = %q }\n[backends.%s.limits]\n%s\n", name, kind, mark, name, limits)
}

func write(t testing.TB, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// request is a chat request of one client.
func (w *world) request(ctx context.Context, client string, body map[string]any) *http.Request {
	req := w.Request(ctx, body)
	req.Header.Set("Authorization", "Bearer "+token(client))
	return req
}

// ask sends a request without a body and decodes the reply into v, unless v is nil.
func (w *world) ask(method, path, client string, v any) (status int, err error) {
	status, err = w.askOnce(method, path, client, v)
	for end := time.Now().Add(patience / 2); err != nil && w.patient && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
		status, err = w.askOnce(method, path, client, v)
	}
	return status, err
}

func (w *world) askOnce(method, path, client string, v any) (status int, err error) {
	req, err := http.NewRequest(method, w.URL+path, nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("Authorization", "Bearer "+token(client))
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err == nil && v != nil {
		err = json.Unmarshal(text, v)
	}
	return resp.StatusCode, err
}

// record is what GET /v1/runs/{id} tells, as far as it is checked here.
type record struct {
	ID       string         `json:"id"`
	State    string         `json:"state"`
	Cause    string         `json:"cause"`
	Message  string         `json:"message"`
	Client   string         `json:"client"`
	Backend  string         `json:"backend"`
	Receipt  map[string]any `json:"receipt"`
	Answered *time.Time     `json:"answered_at"`
	Exit     *int           `json:"exit_code"`
	Signal   string         `json:"signal"`
	Survived int            `json:"processes_after_leader"`
	Metadata struct {
		Tag string `json:"tag"`
	} `json:"metadata"`
}

func (w *world) record(client, id string) (int, record, error) {
	var r record
	status, err := w.ask("GET", "/v1/runs/"+id, client, &r)
	return status, r, err
}

// listed are a client's runs in one state, "" is any.
func (w *world) listed(client, state string) ([]record, error) {
	var all struct {
		Data []record `json:"data"`
	}
	status, err := w.ask("GET", "/v1/runs?limit=1000&state="+state, client, &all)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("GET /v1/runs: status %d", status)
	}
	return all.Data, err
}

// tagged is the run whose request had that metadata.
func (w *world) tagged(client, state, tag string) (record, error) {
	all, err := w.listed(client, state)
	if err != nil {
		return record{}, err
	}
	for _, r := range all {
		if r.Metadata.Tag == tag {
			return r, nil
		}
	}
	return record{}, fmt.Errorf("no %s run of tag %s", state, tag)
}

// metrics are all samples of the exposition, by name with labels.
func (w *world) metrics() map[string]float64 {
	req, _ := http.NewRequest("GET", w.URL+"/metrics", nil)
	req.Header.Set("Authorization", "Bearer "+token(free))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.tb.Fatal(err)
	}
	defer resp.Body.Close()
	all := map[string]float64{}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		name, value, ok := cutLast(lines.Text())
		var v float64
		if _, err := fmt.Sscan(value, &v); ok && err == nil && !strings.HasPrefix(name, "#") {
			all[name] = v
		}
	}
	return all
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, ' ')
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// sum adds the samples of one metric whose labels contain all of with.
func sum(samples map[string]float64, name string, with ...string) float64 {
	total := 0.0
next:
	for sample, v := range samples {
		if sample != name && !strings.HasPrefix(sample, name+"{") {
			continue
		}
		for _, label := range with {
			if !strings.Contains(sample, label) {
				continue next
			}
		}
		total += v
	}
	return total
}
