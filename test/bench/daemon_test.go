package main

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// A server in this program's process group would get the signal that interrupts this
// program, and its clients here would see an end of their connections instead.
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
