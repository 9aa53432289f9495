package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/test/clis"
	"penstock/test/daemon"
	"penstock/test/model"
)

// six are the CLIs, in the order they are tested. PENSTOCK_CLIS narrows it.
func six() []string {
	if only := os.Getenv("PENSTOCK_CLIS"); only != "" {
		return strings.Split(only, ",")
	}
	return []string{"claude", "codex", "pi", "gemini", "kimi", "opencode"}
}

// three are those of the six that take the least of a processor, for what is the same of all: all
// six have it in make e2e-whole.
func three() []string {
	if os.Getenv("PENSTOCK_CLIS") != "" || os.Getenv("PENSTOCK_E2E") == "whole" {
		return six()
	}
	return []string{"claude", "codex", "pi"}
}

type world struct {
	*daemon.Daemon
	model *model.Server
}

// begin starts a scripted model and a daemon that knows the six CLIs; each has the lines more in
// its table.
func begin(t *testing.T, extra string, more ...string) *world {
	t.Helper()
	top := daemon.Top(t)
	m := model.ForTest(t)
	url := m.URL()
	commands, err := clis.Commands(filepath.Join(top, "test", "clis"))
	if err != nil {
		t.Fatalf("the real CLIs: %v: run test/clis/install", err)
	}
	home := t.TempDir()
	if err := clis.Seed(home, url); err != nil {
		t.Fatal(err)
	}
	backends, env := clis.Backends(filepath.Join(top, "test", "clis"), url, commands)
	for _, line := range more {
		backends = strings.ReplaceAll(backends, "default_model", line+"\ndefault_model")
	}
	if rootfs := os.Getenv("PENSTOCK_CLIS_IMAGE"); rootfs != "" {
		backends = inImage(t, rootfs, filepath.Join(top, "test", "clis", "node_modules"), home, backends)
	}
	d := daemon.Start(t, daemon.Options{Home: home, Env: env, Config: limits + backends + extra})
	return &world{Daemon: d, model: m}
}

// inImage puts the backends into a root file system with the libraries of a C program, with their
// programs and their home mounted.
func inImage(t *testing.T, rootfs, programs, home, backends string) string {
	t.Helper()
	real, err := filepath.EvalSymlinks(programs)
	if err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("image = \"clis\"\nhome = %q\nmounts = [ { from = %q, to = %q, mode = \"ro\" } ]\ndefault_model", home, real, programs)
	return fmt.Sprintf("[images.clis]\nrootfs = %q\n", rootfs) + strings.ReplaceAll(backends, "default_model", more)
}

const limits = `drain_timeout = "5s"
[limits]
memory_max = "3GiB"
timeout = "120s"
[budget]
memory = "100%"
max_runs = 40
[queue]
max_waiting = 100
`

// warm has opencode make its database: several that do so at once tell each other that it is locked.
func warm(t *testing.T, w *world, cli string) {
	t.Helper()
	if cli != "opencode" {
		return
	}
	if a, err := w.Chat(bounded(t, long), daemon.Body(cli, "SCN=text N=1", nil), nil); err != nil || a.Error != nil {
		t.Fatalf("%v %+v", err, a)
	}
}

func bounded(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
