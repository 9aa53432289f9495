package hardship

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/daemon"
)

// The daemon may open k files more than it has, for each k up to more than a run
// needs: every step of a start is the one that fails, once. Each request gets an
// answer or a clear refusal, and nothing of it stays.
func TestNoDescriptors(t *testing.T) {
	d := start(t, "", "")
	keep := &keeper{d: d, client: &http.Client{Timeout: patience, Transport: &http.Transport{}}}
	if code, _, err := keep.chat("warm up"); err != nil || code != "" {
		t.Fatalf("warm up: %v %v", code, err)
	}
	queue(t, d, 0, 0)
	http.DefaultClient.CloseIdleConnections()
	told := map[string]int{}
	completed := 0
	for more := range 40 {
		limit(t, d, more)
		code, message, err := keep.chat("word")
		told[code]++
		switch {
		case err != nil:
			t.Errorf("%d files more: no answer: %v", more, err)
		case code == "":
			completed++
		case !strings.Contains(message, "too many open files") && !strings.Contains(message, "descriptor"):
			t.Errorf("%d files more: told %s: %q", more, code, message)
		}
		if h, err := keep.health(); err != nil || h["status"] == "wedged" {
			t.Errorf("%d files more: health %v: %v", more, h["status"], err)
		}
		lift(t, d)
		queue(t, d, 0, 0)
		if completed == 3 {
			break
		}
	}
	t.Logf("told: %v", told)
	if completed < 3 || len(told) < 2 {
		t.Errorf("not every step failed, or none succeeded: %v", told)
	}
	if err := d.WaitEmpty(5 * time.Second); err != nil {
		t.Error(err)
	}
	recovered(t, d)
}

// Many ask at once a daemon that can hold a few: those it can't take wait at the
// door or are refused, and nothing is held when they are gone.
func TestFewDescriptorsForMany(t *testing.T) {
	d := start(t, "", "")
	keep := &keeper{d: d, client: &http.Client{Timeout: patience, Transport: &http.Transport{}}}
	if _, err := keep.health(); err != nil {
		t.Fatal(err)
	}
	before := open(t, d)
	limit(t, d, 24)
	var calls []*call
	for range 5 * slots {
		calls = append(calls, ask(t, d, "/sleep 200ms word", nil))
	}
	completed := 0
	for i, c := range calls {
		<-c.done
		switch {
		case c.err != nil:
			t.Errorf("request %d: %v", i, c.err)
		case c.answer.Error == nil:
			c.completed(t, "word")
			completed++
		default:
			c.failed(t, "too many open files", "start_failed")
		}
	}
	t.Logf("%d of %d completed", completed, len(calls))
	lift(t, d)
	recovered(t, d)
	http.DefaultClient.CloseIdleConnections()
	if err := daemon.Eventually(patience, func() error {
		if now := open(t, d); len(now) > len(before)+2 {
			return fmt.Errorf("%d files are open, %d before: %v", len(now), len(before), now)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// Not one descriptor is left, and some of those kept back are held by clients
// that say nothing: who asks for health on a new connection is told, others are
// refused, and the log says once what to do.
func TestNoDescriptorForAConnection(t *testing.T) {
	d := start(t, "", "")
	http.DefaultClient.CloseIdleConnections()
	one := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	limit(t, d, 0)
	for range 3 {
		mute, err := net.Dial("tcp", strings.TrimPrefix(d.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer mute.Close()
	}
	for range 10 {
		for _, path := range []string{"/health", "/livez", "/readyz"} {
			resp, err := one.Get(d.URL + path)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: status %d", path, resp.StatusCode)
			}
		}
		keep := &keeper{d: d, client: one}
		if code, message, err := keep.chat("word"); err != nil || code != "start_failed" || !strings.Contains(message, "LimitNOFILE") {
			t.Errorf("chat: %q %q %v", code, message, err)
		}
	}
	lift(t, d)
	d.AwaitLog("no file descriptor is left")
	if n := strings.Count(d.Log(), "no file descriptor is left"); n != 1 {
		t.Errorf("%d warnings:\n%s", n, d.Log())
	}
	recovered(t, d)
}

// limit lets the daemon open so many files more, whatever their numbers.
func limit(t *testing.T, d *daemon.Daemon, more int) {
	t.Helper()
	// A number is given if it is below the limit and free: what counts are the holes.
	numbers := open(t, d)
	top := 0
	for free := 0; free < more || slices.Contains(numbers, fmt.Sprint(top)); top++ {
		if !slices.Contains(numbers, fmt.Sprint(top)) {
			free++
		}
	}
	restrict(t, d, uint64(top))
}

func lift(t *testing.T, d *daemon.Daemon) { t.Helper(); restrict(t, d, 1<<62) }

// restrict sets the soft limit, at most to the hard one.
func restrict(t *testing.T, d *daemon.Daemon, files uint64) {
	t.Helper()
	var l unix.Rlimit
	if err := unix.Prlimit(d.Cmd.Process.Pid, unix.RLIMIT_NOFILE, nil, &l); err != nil {
		t.Fatal(err)
	}
	l.Cur = min(files, l.Max)
	if err := unix.Prlimit(d.Cmd.Process.Pid, unix.RLIMIT_NOFILE, &l, nil); err != nil {
		t.Fatal(err)
	}
}

// open are the numbers of the daemon's descriptors.
func open(t *testing.T, d *daemon.Daemon) []string {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.Cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// keeper asks over one connection that it keeps: it needs no descriptor more.
type keeper struct {
	d      *daemon.Daemon
	client *http.Client
}

func (k *keeper) chat(prompt string) (code, message string, err error) {
	req := k.d.Request(context.Background(), daemon.Body("demo", prompt, nil))
	var answer struct {
		Error struct{ Code, Message string }
	}
	err = k.do(req, &answer)
	return answer.Error.Code, answer.Error.Message, err
}

func (k *keeper) health() (map[string]any, error) {
	req, err := http.NewRequest(http.MethodGet, k.d.URL+"/health", nil)
	if err != nil {
		return nil, err
	}
	var h map[string]any
	return h, k.do(req, &h)
}

func (k *keeper) do(req *http.Request, v any) error {
	resp, err := k.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}
