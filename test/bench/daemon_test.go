package main

import (
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A server in this program's process group would get the signal that interrupts this
// program, and its clients here would find it gone instead.
func TestStart_IsNotInOurProcessGroup(t *testing.T) {
	s, err := start(exec.Command("/bin/sleep", "600"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.end()
	group, err := unix.Getpgid(s.pid())
	if err != nil {
		t.Fatal(err)
	}
	if own := unix.Getpgrp(); group == own {
		t.Errorf("process group %d is this program's own", own)
	}
}

// A row that fails by an EOF says nothing of its cause; the daemon's end does.
func TestDaemon_LastWordsTellHowItEnded(t *testing.T) {
	s, err := start(exec.Command("/bin/sh", "-c", "echo panic: gone wrong >&2; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	<-s.exited
	got := daemon{now, s}.lastWords()
	for _, want := range []string{now, "exit status 3", "panic: gone wrong"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q: want %q in it", got, want)
		}
	}
}
