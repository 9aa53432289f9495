package daemon

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// callsPerRun is how many system calls of the daemon may name a run, by its files or its
// group: what was reached, and a twentieth. It hardly depends on the machine, as times
// would: 69 where nothing else runs, and 86 where strace makes a run so slow that the watch
// looks at each. Raise it only for what a run has to do more.
const callsPerRun = 90

var runID = regexp.MustCompile(`run_[0-9A-Z]{26}`)

// A run of a trivial program takes no more system calls than it did.
func TestCost_SystemCallsPerRun(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("strace is not installed")
	}
	d := Start(t, Options{Config: "[backends.cat]\nkind = \"exec\"\ncommand = [\"/bin/cat\"]\n"})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func() {
		resp, err := client.Post(d.URL+"/v1/chat/completions", "application/json", strings.NewReader(`{"model":"cat","messages":[{"role":"user","content":"hello"}]}`))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Fatal(resp.Status)
		}
	}
	if d.Enforces() {
		t.Skip("the kernel holds limits here: each run writes and reads back a file more for each of them")
	}
	for range 5 {
		ask() // what the first run alone needs
	}
	prefix := filepath.Join(t.TempDir(), "calls")
	tracer := exec.Command(strace, "-ff", "-y", "-qq", "-s", "200", "-o", prefix, "-p", strconv.Itoa(d.Cmd.Process.Pid))
	if err := tracer.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); !isTraced(t, d.Cmd.Process.Pid); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Skip("strace may not trace here")
		}
	}
	for range 20 {
		ask()
	}
	if err := d.WaitEmpty(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := tracer.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = tracer.Wait() // ends by the signal
	counts := callsByRun(t, prefix)
	least := 0
	for _, n := range counts { // the least: others were looked at by the watch in between
		if least == 0 || n < least {
			least = n
		}
	}
	t.Logf("%d system calls a run, of %d runs", least, len(counts))
	if len(counts) < 20 || least > callsPerRun {
		t.Errorf("%d system calls a run, want at most %d: %v", least, callsPerRun, counts)
	}
}

// isTraced tells whether some process traces all threads of a process (proc_pid_status(5)).
func isTraced(t *testing.T, pid int) bool {
	t.Helper()
	paths, err := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/status")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if status, err := os.ReadFile(path); err == nil && strings.Contains(string(status), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// callsByRun counts, of the files that strace has left for each thread, the calls that
// name a run; not those of its own processes.
func callsByRun(t *testing.T, prefix string) map[string]int {
	t.Helper()
	paths, err := filepath.Glob(prefix + ".*")
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "execve(") {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if id := runID.FindString(line); id != "" && !strings.HasPrefix(line, "write(") {
				counts[id]++
			}
		}
	}
	return counts
}
