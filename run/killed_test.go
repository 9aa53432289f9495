package run

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/backend"
	"penstock/backend/structured"
	"penstock/outcome"
	"penstock/run/store"
	"penstock/spawn"
	"penstock/spool"
)

// The environment of a process of this test program that is a daemon which may be killed.
const (
	daemonState  = "RUN_TEST_STATE"  // its state directory
	daemonGroup  = "RUN_TEST_GROUP"  // the name of its cgroup
	daemonScript = "RUN_TEST_SCRIPT" // of the run that it starts; none adopts what is there
	daemonUser   = "RUN_TEST_USER"   // whose processes its runs are; none is its own
	daemonSchema = "RUN_TEST_SCHEMA" // that its run's answer has to keep to; none is free text
)

// runDaemon starts a run, or adopts one, and tells when it has and how it ended.
func runDaemon(state string) int {
	if err := serveRun(context.Background(), state); err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

func serveRun(ctx context.Context, state string) (failed error) {
	lock, err := store.LockDir(state)
	if err != nil {
		return err
	}
	left, err := lock.Leftovers(func(string, string) Bounds { return Bounds{Grace: math.MaxInt64} })
	if err != nil {
		return err
	}
	s, err := spawn.Open(ctx, spawn.Options{
		Cgroup: spawn.GroupOptions{Mode: "available", Name: os.Getenv(daemonGroup)}, Keep: left, ProtectPaths: lock.Protect(),
	})
	if err != nil {
		return err
	}
	defer func() { failed = errors.Join(failed, s.Close(ctx)) }()
	var b backend.Backend = agent{talks: true}
	if os.Getenv(daemonSchema) != "" {
		b = structured.New(twice{})
	}
	m, err := Open(ctx, Options{
		StateDir: state, Lock: lock, Spawner: s, Backends: func(string) (backend.Backend, bool) { return b, true },
	})
	if err != nil {
		return err
	}
	var r *Run
	if text := os.Getenv(daemonScript); text != "" {
		prompt, attachments := longPrompt()
		if os.Getenv("RUN_TEST_BARE") != "" {
			attachments = nil
		}
		r, err = m.Start(ctx, script(text, durable, func(s *Spec) {
			s.Asked, s.Backend, s.Request.Prompt, s.Request.Attachments = []byte("asked"), b, prompt, attachments
			if schema := os.Getenv(daemonSchema); schema != "" {
				s.Request.Schema = []byte(schema)
			}
			s.Discard = true
			s.Deadline = time.Now().Add(40 * time.Second) // of what is told too little
			if os.Getenv(daemonUser) != "" {
				s.User = &User{Name: "guest", UID: 54321, GID: 54321, Home: "/nonexistent"}
			}
		}))
	} else {
		r, err = m.Get("r")
	}
	if err != nil {
		return err
	}
	fmt.Println("runs")
	<-r.Ended()
	<-r.done
	if asked, err := m.Asked("r"); err != nil || string(asked) != "asked" {
		return fmt.Errorf("asked: %q, %w", asked, err)
	}
	m.discardDue(time.Now().Add(2 * discardAfter))
	if r, err := m.Get("r"); err != nil {
		return err
	} else if _, err := r.Follow(0).Next(ctx); !errors.Is(err, spool.ErrPruned) {
		return fmt.Errorf("what was to be discarded is read: %w", err)
	}
	fmt.Println(r.Verdict().Cause)
	return m.Close(ctx)
}

// longPrompt is the same in each process: 4 MB, and an image of 1 MB with a file.
func longPrompt() (string, []backend.Attachment) {
	random := rand.New(rand.NewPCG(1, 2))
	return hex.EncodeToString(noise(random, 2<<20)), []backend.Attachment{{Name: "x.png", Type: "image/png", Data: noise(random, 1<<20)}, paper}
}

// noise has no two pages that end alike: what a pipe holds tells how far it was written.
func noise(random *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(random.Uint32())
	}
	return b
}

// daemonProcess is one of this test program, which has begun to run what it is to.
func daemonProcess(t *testing.T, environ ...string) (*exec.Cmd, *bufio.Reader) {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	c.Env, c.Stderr = append(os.Environ(), environ...), os.Stderr
	if group, err := os.Open(bornIn); err == nil && os.Geteuid() == 0 {
		defer group.Close()
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(group.Fd())}
	}
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	says := bufio.NewReader(out)
	if line, err := says.ReadString('\n'); line != "runs\n" {
		rest, _ := io.ReadAll(says)
		_ = c.Wait()
		t.Fatalf("%s%s%v", line, rest, err)
	}
	return c, says
}

// The daemon is killed while it tells a slow CLI a long prompt, or an image that goes with
// it: the next one goes on within the byte.
func TestKilled_WhileThePromptIsTold(t *testing.T) {
	if spawner == nil {
		t.Skip("this machine gives us no cgroup v2 tree to make groups in (see the top of the output)")
	}
	prompt, attachments := longPrompt()
	whole := []byte("hello\n" + prompt + "\n")
	bare := len(whole)
	for _, a := range attachments {
		whole = fmt.Appendf(whole, "%s %s %s\n", a.Name, a.Type, base64.StdEncoding.EncodeToString(a.Data))
	}
	for name, test := range map[string]struct {
		at      uint64 // bytes told
		environ string
		want    []byte
	}{
		"in the prompt":              {1 << 20, "", whole},
		"in the image":               {uint64(bare) + 1<<18, "", whole},
		"in the image, another user": {uint64(bare) + 1<<18, daemonUser + "=guest", whole},
		"nothing goes with it":       {1 << 20, "RUN_TEST_BARE=1", whole[:bare]},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(name, "user") && os.Geteuid() != 0 {
				t.Skip("only root can start another user's process")
			}
			t.Parallel()
			state, dir := t.TempDir(), t.TempDir()
			if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Chmod(dir, 0o777)); err != nil {
				t.Fatal(err)
			}
			got := filepath.Join(dir, "got")
			cli := fmt.Sprintf(`until [ "$(stat -c %%s %s)" = %d ]; do dd bs=65536 count=1 status=none >> %s; sleep 0.01; done; echo "d stop"`, got, len(test.want), got)
			group := fmt.Sprintf("run-test-killed-%d-%d", os.Getpid(), rand.Uint32())
			first, _ := daemonProcess(t, daemonState+"="+state, daemonGroup+"="+group, daemonScript+"="+cli, test.environ)
			said := filepath.Join(state, "store", "runs", "r", store.StdinLogName)
			for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				told, err := os.ReadFile(said)
				if err == nil && len(told) >= 8 && binary.LittleEndian.Uint64(told) >= test.at {
					break
				}
				if time.Now().After(end) {
					t.Fatalf("told %x, %v", told, err)
				}
			}
			// Not just when a write is noted and not yet done: that moment can't be told from the one after it.
			time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
			if err := first.Process.Signal(syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			_ = first.Wait()
			if test.environ == "RUN_TEST_BARE=1" { // what main's code writes, and no more: see store's TestCheckpoint_OfAnEarlierVersion
				for _, word := range []string{"attachments", "Converse", "sum"} {
					if text := read(t, filepath.Join(state, "store", "runs", "r", "checkpoint.json")); strings.Contains(text, `"`+word+`"`) {
						t.Errorf("%s in %s", word, text)
					}
				}
			}
			next, says := daemonProcess(t, daemonState+"="+state, daemonGroup+"="+group)
			if cause, err := says.ReadString('\n'); cause != string(outcome.Completed)+"\n" {
				t.Errorf("%q, %v", cause, err)
			}
			if err := next.Wait(); err != nil {
				t.Error(err)
			}
			if text := []byte(read(t, got)); !bytes.Equal(text, test.want) {
				t.Errorf("told %d bytes, want %d, and they differ", len(text), len(test.want))
			}
		})
	}
}
