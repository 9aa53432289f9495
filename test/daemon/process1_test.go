package daemon

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// smallImage is a root file system of busybox, for a host that can start runs in images.
func smallImage(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"bwrap", "busybox"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("PENSTOCK_LAB") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: another user may not look at a run's process 1")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"busybox": string(text), "linger": "#!/bin/sh\ncat\necho\nexec sleep 60\n"} {
		if err := os.WriteFile(filepath.Join(root, "bin", name), []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, applet := range []string{"sh", "cat", "echo", "sleep"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// A program as it is built has a small one in it for process 1 of runs in images, and
// holds it in memory once, where it can't be changed.
func TestProcess1IsSmall(t *testing.T) {
	d := Start(t, Options{Config: fmt.Sprintf("[images.small]\nrootfs = %q\n[backends.linger]\nkind = \"exec\"\ncommand = \"linger\"\nimage = \"small\"\n", smallImage(t))})
	ctx, cancel := context.WithCancel(bounded(t, 30*time.Second))
	defer cancel()
	var programs []string
	a, err := d.Chat(ctx, Body("linger", "words", map[string]any{"stream": true}), func(a *Answer) {
		if a.Deltas == 0 || len(programs) > 0 {
			return
		}
		for _, pid := range d.Pids(a.Run) {
			if program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil {
				programs = append(programs, program)
			}
			info, err := os.Stat(fmt.Sprintf("/proc/%d/exe", pid))
			if err == nil && strings.HasPrefix(programs[len(programs)-1], "/memfd:") && info.Size() > 5<<20 {
				t.Errorf("process 1 is a program of %d bytes", info.Size())
			}
		}
		cancel()
	})
	if len(programs) == 0 {
		t.Fatalf("no text of the run: %+v %v\n%s", a, err, d.Log())
	}
	if all := strings.Join(programs, " "); !strings.Contains(all, "/memfd:process1") {
		t.Errorf("the run's processes are %s", all)
	}
	if err := d.WaitEmpty(10 * time.Second); err != nil {
		t.Error(err)
	}
}
