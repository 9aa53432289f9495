package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"penstock/internal/imagetest"
	"penstock/sandbox/bundle"
)

// The three are meant to be run interleaved and compared pairwise: what a cage
// costs beside a bare start, and beside the process group it replaces.

func BenchmarkBareExec(b *testing.B) {
	program := look(b, "true")
	for b.Loop() {
		if err := exec.Command(program).Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkProcessGroup(b *testing.B) {
	program := look(b, "true")
	for b.Loop() {
		cmd := exec.Command(program)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			b.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			b.Fatal(err)
		}
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
			b.Fatal(err)
		}
	}
}

func BenchmarkRunCold(b *testing.B) {
	s := open(b, false)
	program := look(b, "true")
	benchRuns(b, s, func(string) Command { return Command{Argv: []string{program}, Dir: "/"} })
}

// What a run in an image costs beside BenchmarkRunCold: IMAGE is a root file system that
// has /etc/passwd and the like, as the store has it, and true.
func BenchmarkRunInImage(b *testing.B) {
	root := os.Getenv("IMAGE")
	if root == "" {
		root = imagetest.Root(b)
	}
	s := openWithImages(b)
	files, err := bundle.Supplied(root, "", bundle.Person{Home: "/home/agent"}, true)
	if err != nil {
		b.Fatal(err)
	}
	benchRuns(b, s, func(id string) Command {
		status, err := os.OpenFile(filepath.Join(b.TempDir(), id), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { status.Close() })
		return Command{Argv: []string{"true"}, Env: []string{"PATH=/bin"}, Dir: "/", Image: &Image{
			Root: bundle.Options{Image: root, Home: "/home/agent", Hostname: "bench", Files: files, Memory: 256 << 20, Writable: 64 << 20}, Status: status,
		}}
	})
}

// benchRuns starts commands one after the other. Their tenth percentile is what a quiet machine
// takes, and the processor time of their groups what a busy one can be compared by.
func benchRuns(b *testing.B, s *Spawner, next func(id string) Command) {
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	var took []time.Duration
	var processor uint64
	for b.Loop() {
		b.StopTimer()
		c := next(fmt.Sprintf("bench-%d", len(took)))
		c.ID, c.Stdout, c.Stderr = fmt.Sprintf("bench-%d", len(took)), out, out
		b.StartTimer()
		begun := time.Now()
		p, err := s.Start(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		<-p.Gone()
		took = append(took, time.Since(begun))
		o := p.Outcome()
		if o.Exit != exited0 || o.Err != nil {
			b.Fatalf("%+v", o)
		}
		if r := o.Receipt; r.CPUUserUsec != nil && r.CPUSystemUsec != nil {
			processor += *r.CPUUserUsec + *r.CPUSystemUsec
		}
	}
	slices.Sort(took)
	b.ReportMetric(float64(processor)/float64(len(took)), "processor-µs")
	b.ReportMetric(float64(took[len(took)/10].Microseconds()), "p10-µs")
}
