package spawn

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
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
	out, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	var n int
	for b.Loop() {
		n++
		p, err := s.Start(b.Context(), Command{
			ID: fmt.Sprintf("bench-%d", n), Argv: []string{program}, Dir: "/", Stdout: out, Stderr: out,
		})
		if err != nil {
			b.Fatal(err)
		}
		<-p.Gone()
		if o := p.Outcome(); o.Exit != exited0 || o.Err != nil {
			b.Fatalf("%+v", o)
		}
	}
}
