package cgroup

import (
	"os"
	"runtime"
	"testing"
	"time"

	"penstock/internal/procinfo"
)

func TestGroup_StorageIO(t *testing.T) {
	g := newGroup(t, openRoot(t), "io", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	own, err := procinfo.Host.StorageBytes(os.Getpid())
	if err != nil {
		skipLacking(t, "task I/O accounting: "+err.Error())
	}
	if n, err := g.StorageIO(); err != nil || n > own+1<<30 {
		t.Errorf("%d bytes, %v", n, err)
	}
	end(t, g)
	v.signal(t)
}

func TestGroup_CPUWait(t *testing.T) {
	if _, err := os.Stat("/proc/pressure/cpu"); err != nil {
		t.Skipf("this kernel lacks PSI: %v", err) // User-Mode Linux has none
	}
	g := newGroup(t, openRoot(t), "wait", nil)
	for range 2*runtime.NumCPU() + 1 {
		born(t, g.FD(), "spin").ready(t)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if wait := g.CPUWait(); wait != nil && *wait > 0 {
			break
		} else if time.Now().After(end) {
			t.Errorf("no wait for a processor: %v", wait)
			break
		}
	}
	end(t, g)
}
