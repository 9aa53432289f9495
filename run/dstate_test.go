package run

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"penstock/spawn"
	"penstock/test/disk"
)

// A run that was ended, but whose process no signal reaches, keeps its slot.
func TestSlotIsHeldUntilTheGroupIsGone(t *testing.T) {
	d := disk.New(t)
	m := open(t)
	d.Freeze()
	s := script("echo x >" + d.Dir + "/file")
	gone := counted(t, &s)
	r := start(t, m, s)
	stat := fmt.Sprintf("/proc/%d/stat", r.process.PID())
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if text, err := os.ReadFile(stat); err == nil && strings.Contains(string(text), ") D ") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no process in state D")
		}
	}
	r.End(spawn.Timeout)
	verdict(t, r, spawn.Timeout)
	select {
	case <-r.done:
	case <-time.After(500 * time.Millisecond):
	}
	if n := gone.Load(); n != 0 {
		t.Errorf("the slot was given free %d times while its process lives", n)
	}
	d.Thaw()
	wait(t, "removal after the thaw", r.done)
	if n := gone.Load(); n != 1 {
		t.Errorf("OnGone came %d times", n)
	}
}
