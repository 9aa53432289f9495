package cgroup

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestParseProcIO(t *testing.T) {
	for _, row := range []struct {
		text string
		want uint64
		ok   bool
	}{
		{"rchar: 9\nwchar: 8\nsyscr: 1\nsyscw: 1\nread_bytes: 4096\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n", 12288, true},
		{"rchar: 9\n", 0, false},
		{"read_bytes: x\n", 0, false},
		{"", 0, false},
	} {
		if got, err := parseProcIO(strings.NewReader(row.text)); got != row.want || (err == nil) != row.ok {
			t.Errorf("%q: %d, %v", row.text, got, err)
		}
	}
}

func TestStorageIO(t *testing.T) {
	g := newGroup(t, openRoot(t), "io", nil)
	v := born(t, g.FD(), "sleep").ready(t)
	own, err := parseFile("/proc/self/io", parseProcIO)
	if err != nil {
		lacks(t, "task I/O accounting: "+err.Error())
	}
	if n, err := g.StorageIO(); err != nil || n > own+1<<30 {
		t.Errorf("%d bytes, %v", n, err)
	}
	end(t, g)
	v.signal(t)
}

func TestCPUWait(t *testing.T) {
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
