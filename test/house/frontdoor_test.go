package house

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Where Go is missing, too old or may not fetch the version that go.mod names, each
// command that a fresh clone offers says in one sentence what to do, before it builds
// or installs anything.
func TestFrontDoor_WithoutGo(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Skip("this machine lacks make")
	}
	top, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ name, version, says string }{
		{"no Go", "exit 127", "install Go 1.21 or newer"},
		{"Debian 12's", "echo go version go1.19.8 linux/amd64", "install Go 1.21 or newer"},
		{"may fetch nothing", "echo go version go1.24.4 linux/amd64", "set GOTOOLCHAIN=auto"},
	} {
		program := filepath.Join(t.TempDir(), "go")
		if err := os.WriteFile(program, fmt.Appendf(nil, "#!/bin/sh\n[ $1 = version ] && %s\n", tt.version), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{
			"make run", "make test", "make fast", "make lint", "make build", "make bin/tools/golangci-lint",
			"test/run", "test/run unit", "test/lab/test", "test/lab/vm-test", "test/lab/vm-clis", "test/escape/run uml root", "test/mutants/run",
		} {
			// What goes on all the same must not get far.
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			cmd := exec.CommandContext(ctx, "sh", "-c", call)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
			cmd.Dir = top
			cmd.Env = append(os.Environ(), "GO="+program, "MAKEFLAGS=", "MAKELEVEL=")
			out, err := cmd.CombinedOutput()
			cancel()
			said := strings.Count(string(out), "\n")
			if err == nil || !strings.Contains(string(out), tt.says) || said > 3 {
				t.Errorf("%s: %s: %v, %d lines, want %q:\n%s", tt.name, call, err, said, tt.says, out)
			}
		}
	}
}
