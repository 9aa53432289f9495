package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// needsKernel skips, and says why, where only our own watch holds the
// limits; in the lab (PENSTOCK_LAB=1) that is a failure instead.
func needsKernel(t *testing.T, d *Daemon) {
	t.Helper()
	if d.Enforces() {
		return
	}
	if os.Getenv("PENSTOCK_LAB") != "" {
		t.Fatal("the lab's kernel does not enforce memory and pids")
	}
	t.Skip("this machine's cgroup v2 tree has no memory and pids controllers; the lab runs this test")
}

// One run goes over memory_max; it is told so with limit and peak, and its
// neighbours and the daemon don't notice. Kernel or watch, the answer is the same.
func TestMemoryLimit(t *testing.T) {
	d := Start(t, Options{Config: small})
	sibling := make(chan *Answer, 1)
	go func() {
		a, err := d.Chat(bounded(t, 40*time.Second), Body("demo", "one /sleep 4 two", map[string]any{"stream": true}), nil)
		if err != nil {
			t.Errorf("sibling: %v", err)
		}
		sibling <- a
	}()
	for _, stream := range []bool{true, false} {
		a, err := d.Chat(bounded(t, 30*time.Second), Body("demo", "some text /alloc 500MiB /sleep 5", map[string]any{
			"stream": stream, "limits": map[string]any{"memory_max": "64MiB"},
		}), nil)
		if err != nil {
			t.Fatal(err)
		}
		if a.Code() != "memory_limit" || a.Finish != "" {
			t.Fatalf("code %q finish %q error %+v", a.Code(), a.Finish, a.Error)
		}
		if m := a.Error.Message; !strings.Contains(m, "64") || !strings.Contains(strings.ToLower(m), "peak") {
			t.Errorf("message %q names neither limit nor peak", m)
		}
		peak, _ := a.Error.Receipt["memory_peak_bytes"].(float64)
		if peak < 32<<20 {
			t.Errorf("receipt %v: peak %v", a.Error.Receipt, peak)
		}
		// What a task still touches while it is being killed is charged by force.
		if d.Enforces() && peak > 65<<20 {
			t.Errorf("peak %v is over the limit the kernel holds", peak)
		}
	}
	if a := <-sibling; a == nil || a.Finish != "stop" || !strings.Contains(a.Text, "two") {
		t.Errorf("the sibling run: %+v", a)
	}
	if h, err := d.Health(); err != nil || h["status"] != "ok" && h["status"] != "busy" {
		t.Errorf("health %v %v", h, err)
	}
}

func TestForkBomb(t *testing.T) {
	d := Start(t, Options{Config: small})
	needsKernel(t, d)
	a, err := d.Chat(bounded(t, 40*time.Second), Body("demo", "/fork 500 done", map[string]any{
		"limits": map[string]any{"pids_max": 40},
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if a.Code() != "pids_limit" {
		t.Fatalf("code %q, error %+v, text %q", a.Code(), a.Error, a.Text)
	}
	peak, _ := a.Error.Receipt["pids_peak"].(float64)
	refused, _ := a.Error.Receipt["pids_refused"].(float64)
	if peak > 40 || refused < 1 {
		t.Errorf("receipt %v: peak %v refused %v", a.Error.Receipt, peak, refused)
	}
	if err := d.WaitEmpty(2 * time.Second); err != nil {
		t.Error(err)
	}
}

// A limit on tasks around the daemon, set while it runs, is used up by one run's
// forks: the daemon has its part of it, and goes on where its threads would fail.
func TestForkBombLeavesTheDaemonItsTasks(t *testing.T) {
	// A large host's daemon makes as many threads as there is work.
	d := Start(t, Options{Env: map[string]string{"GOMAXPROCS": "32"}, Config: small + `
[backends.bomb]
kind = "exec"
command = ["/bin/bash", "-c", "while :; do sleep 60 & done"]
[backends.bomb.limits]
pids_max = 5000
timeout = "50s"
`})
	needsKernel(t, d)
	root := d.Root()
	if err := os.WriteFile(filepath.Join(root, "pids.max"), []byte("160"), 0); err != nil {
		t.Fatal(err)
	}
	tasksMax := func() float64 {
		h, err := d.Health()
		if err != nil {
			t.Fatal(err, d.Log())
		}
		children, _ := h["children"].(map[string]any)
		n, _ := children["tasks_max"].(float64)
		return n
	}
	for end := time.Now().Add(20 * time.Second); tasksMax() >= 160; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v tasks for runs below a limit of 160", tasksMax())
		}
	}
	bomb := make(chan *Answer, 1)
	go func() {
		a, err := d.Chat(bounded(t, 60*time.Second), Body("bomb", "go", nil), nil)
		if err != nil {
			t.Error(err)
		}
		bomb <- a
	}()
	refused := func() bool {
		files, _ := filepath.Glob(root + "/runs/*/pids.events")
		for _, file := range append(files, root+"/runs/pids.events", root+"/pids.events") {
			if b, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(b), "max ") && !strings.HasPrefix(string(b), "max 0\n") {
				return true
			}
		}
		return false
	}
	for end := time.Now().Add(30 * time.Second); !refused(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no fork was refused")
		}
	}
	// Work that wants threads, while there is no task left for a run.
	var all sync.WaitGroup
	for range 40 {
		all.Go(func() {
			_, _ = d.Chat(bounded(t, 30*time.Second), Body("demo", "beside the bomb", nil), nil) // refused, most of them
		})
	}
	all.Wait()
	if _, err := d.Health(); err != nil {
		t.Fatalf("the daemon beside the bomb: %v\n%s", err, d.Log())
	}
	if a := <-bomb; a == nil || a.Error == nil {
		t.Errorf("the bomb answered %+v", a)
	}
	if b, err := d.Chat(bounded(t, 20*time.Second), Body("demo", "after the bomb", nil), nil); err != nil || b.Finish != "stop" {
		t.Errorf("a run after the bomb: %+v %v\n%s", b, err, d.Log())
	}
}

// A shell fork bomb is held by pids.max; the daemon goes on answering.
func TestShellForkBomb(t *testing.T) {
	d := Start(t, Options{Config: small + `
[backends.bomb]
kind = "exec"
command = ["/bin/sh", "-c", "b() { b | b & }; b 2>/dev/null; sleep 30"]
[backends.bomb.limits]
pids_max = 60
timeout = "4s"
`})
	needsKernel(t, d)
	done := make(chan *Answer, 1)
	go func() {
		a, err := d.Chat(bounded(t, 40*time.Second), Body("bomb", "go", nil), nil)
		if err != nil {
			t.Error(err)
		}
		done <- a
	}()
	for range 10 {
		if _, err := d.Health(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	b, err := d.Chat(bounded(t, 20*time.Second), Body("demo", "beside the bomb", nil), nil)
	if err != nil || b.Finish != "stop" {
		t.Errorf("a run beside the bomb: %+v %v", b, err)
	}
	if a := <-done; a == nil || a.Error == nil {
		t.Errorf("the bomb answered %+v", a)
	}
	if err := d.WaitEmpty(5 * time.Second); err != nil {
		t.Error(err)
	}
}

// Swap can't be used to pass the cap: memory.swap.max is 0 in the run's group
// and in the group of all runs.
func TestNoSwap(t *testing.T) {
	d := Start(t, Options{Config: small})
	needsKernel(t, d)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = d.Chat(bounded(t, 20*time.Second), Body("demo", "/sleep 2", nil), nil)
	}()
	if err := Eventually(5*time.Second, func() error {
		if len(d.Groups()) != 1 {
			return fmt.Errorf("groups %v", d.Groups())
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	runs := d.Root() + "/runs"
	for _, dir := range []string{runs, runs + "/" + d.Groups()[0]} {
		text, err := os.ReadFile(dir + "/memory.swap.max")
		if err != nil || strings.TrimSpace(string(text)) != "0" {
			t.Errorf("%s/memory.swap.max = %q, %v; want 0", dir, text, err)
		}
	}
	<-done
}
