// Package hosts runs the built penstock on every kind of host that the machine
// it runs on can play: natively, in the lab's kernels, under the lab's systemds.
package hosts

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKinds takes a daemon through its life on each kind of host, and prints
// what it found there in one line.
func TestKinds(t *testing.T) {
	for _, k := range kinds() {
		t.Run(k.name, func(t *testing.T) {
			if why := k.lacks(); why != "" {
				t.Skip(why)
			}
			h := newHome(t, k)
			r := h.check(t)
			if r.chosen() != k.source || r.Enforced == nil || r.Enforced.Memory != k.holder || r.Enforced.Pids != k.holder {
				t.Errorf("check foretells %q, enforced %+v; want %q and %q\n%+v", r.chosen(), r.Enforced, k.source, k.holder, r.Ways)
			}
			first := h.serve(t)
			h.ready(t, first)
			i := h.isolation(t)
			source := first.source(t)
			fmt.Printf("host: %-40s source %-8s memory %-6s pids %-6s kill %-6s root %s (%s)\n", k.name, source, i.Memory, i.Pids, i.Kill, i.Root, i.EscapeProofing)
			if source != k.source || i.Memory != k.holder || i.Pids != k.holder || i.Kill != "kernel" {
				t.Errorf("source %q, isolation %+v; want %q held by %q", source, i, k.source, k.holder)
			}
			h.root = i.Root
			memoryIsHeld(t, h)
			killed(t, h, first)
			again := h.serve(t)
			h.ready(t, again)
			if answer, err := h.post("still here"); err != nil || !strings.Contains(answer, `"finish_reason":"stop"`) {
				t.Errorf("after the restart: %v, %s", err, answer)
			}
			stop(t, h, again)
		})
	}
}

// memoryIsHeld ends a run by its limit, and nothing else.
func memoryIsHeld(t *testing.T, h *home) {
	t.Helper()
	answer, err := h.post("/alloc 300MiB /sleep 5")
	if err != nil || !strings.Contains(answer, `"code":"memory_limit"`) || !strings.Contains(answer, `"memory":"`+h.kind.holder+`"`) {
		t.Errorf("a run over its limit: %v, %s", err, answer)
	}
}

// killed ends the daemon as nothing should, with a run alive.
func killed(t *testing.T, h *home, l *life) {
	t.Helper()
	late := make(chan error, 1)
	go func() {
		_, err := h.post("/daemonize /ignoreterm /sleep 300")
		late <- err
	}()
	await(t, "the long run", func() bool { return len(h.sleepers()) > 0 })
	if err := syscall.Kill(h.pid(t), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := l.ended(t); err == nil {
		t.Error("a daemon that was killed ended well")
	}
	if err := <-late; err == nil {
		t.Error("the client of a daemon that was killed was told nothing")
	}
	if !h.kind.survives {
		await(t, "systemd's end of the unit", func() bool { return len(h.sleepers()) == 0 })
	} else if len(h.sleepers()) == 0 {
		t.Error("the run is gone with its daemon, so that nothing can be taken over")
	}
}

// sleepers are the processes of this home's runs.
func (h *home) sleepers() []string {
	var found []string
	for _, group := range groupsBelow(tree) {
		// Inside a container the root has the same name and another way to it.
		if !strings.Contains(group, "/"+filepath.Base(h.root)+"/runs/") {
			continue
		}
		b, _ := os.ReadFile(group + "/cgroup.procs")
		for _, pid := range strings.Fields(string(b)) {
			if line, _ := os.ReadFile("/proc/" + pid + "/cmdline"); bytes.Contains(line, []byte("sleep")) {
				found = append(found, pid)
			}
		}
	}
	return found
}

// stop ends the daemon as one should: nothing is left.
func stop(t *testing.T, h *home, l *life) {
	t.Helper()
	h.root = h.isolation(t).Root
	if err := syscall.Kill(h.pid(t), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	// An adopted run may be there still: a second signal doesn't wait for it.
	time.AfterFunc(time.Second, func() {
		for _, exe := range glob("/proc/[0-9]*/exe") {
			if target, _ := os.Readlink(exe); target == h.binary {
				var pid int
				if _, err := fmt.Sscanf(exe, "/proc/%d/exe", &pid); err == nil {
					syscall.Kill(pid, syscall.SIGTERM)
				}
			}
		}
	})
	if err := l.ended(t); err != nil {
		t.Errorf("stop: %v", err)
	}
	if left := h.sleepers(); len(left) > 0 {
		t.Errorf("stop left %v", left)
	}
	if strings.HasPrefix(h.kind.name, "container") {
		left := groupsBelow(fmt.Sprintf("%s/%s-%d", tree, filepath.Base(h.dir), h.runs))
		if slices.ContainsFunc(left, func(g string) bool { return filepath.Base(g) != "init" }) {
			t.Errorf("stop left %v", left)
		}
		return
	}
	await(t, "the root's end", func() bool { return !exists(h.root) })
}

// A refusal names every way, why it is closed and what would open it, and comes
// at once.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		kind
		want []string
	}{
		{kind{name: "user without a manager", lacks: all(pure, systemd(0), account("bob")), user: "bob", wrap: func(_ *testing.T, _ *home, argv []string) *exec.Cmd {
			return exec.Command("runuser", append([]string{"-u", "bob", "--"}, argv...)...)
		}}, []string{"unit: ", "scope: no user manager here", "loginctl enable-linger", "subtree: ", "no groups can be made below our own"}},
		{kind{name: "user without systemd", lacks: all(root, noSystemd), user: "nobody", wrap: func(_ *testing.T, _ *home, argv []string) *exec.Cmd {
			return exec.Command("setpriv", append([]string{"--reuid=nobody", "--clear-groups", "--"}, argv...)...)
		}}, []string{"unit: ", "scope: no user manager here", "run under systemd", "subtree: ", "as a unit with Delegate=yes"}},
		{kind{name: "container shared with others", lacks: all(pure, root), wrap: container("true", "mount -t tmpfs none /run")},
			[]string{"unit: ", "scope: ", "subtree: ", "live there", "move the others out first: mkdir /sys/fs/cgroup/init"}},
		{kind{name: "strict on a hybrid", lacks: all(hybrid, root), wrap: byHand},
			[]string{"unit: ", "scope: ", "subtree: ", "the kernel can't hold memory and pids", "systemd.unified_cgroup_hierarchy=1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if why := tt.lacks(); why != "" {
				t.Skip(why)
			}
			tt.mode = "strict"
			h := newHome(t, tt.kind)
			begun := time.Now()
			l := h.serve(t)
			err := l.ended(t)
			took := time.Since(begun)
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("serve: %v, want exit status 1", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(l.log.String(), want) {
					t.Errorf("refusal doesn't say %q:\n%s", want, l.log)
				}
			}
			fmt.Printf("host: %-40s refused in %v\n", tt.name, took.Round(10*time.Millisecond))
			if r := h.check(t); r.OK || r.Enforced != nil || r.chosen() != "" {
				t.Errorf("check foretells %q, enforced %+v", r.chosen(), r.Enforced)
			}
		})
	}
}
