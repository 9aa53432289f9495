package run

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// One look of the dispatcher beside 500 live runs: it is all the reading of
// groups that is done for health, the runs API and scrapes, however many ask.
// The processor time is its own, without what the watch and others take.
func BenchmarkStallDetector_Observe(b *testing.B) {
	m := open(b)
	for i := range 500 {
		s := script("exec sleep 600")
		s.ID = fmt.Sprintf("bench-%d", i)
		if _, err := m.Start(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
	detectors := map[*Run]*stallDetector{}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := threadTime(b)
	for b.Loop() {
		m.observeAll(detectors)
		m.sample(time.Now())
	}
	b.ReportMetric(float64((threadTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
	b.ReportMetric(float64(len(m.Snapshot().Runs)), "runs")
}

// threadTime is the processor time of the calling thread.
func threadTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
