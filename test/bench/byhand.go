package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/test/clis"
)

// handDelta starts a CLI as its adapter would, with nothing around it.
func handDelta(cli string, command []string, dir, home, modelURL string) (took time.Duration, err error) {
	base, err := os.MkdirTemp(dir, "hand-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(base)
	request := backend.Request{Model: clis.Models()[cli], Prompt: deltaAsked, Cwd: base, Tmp: base, Dir: base, Permissions: "bypass", Root: os.Geteuid() == 0}
	adapter, err := kinds.New(backend.Config{Name: cli, Kind: cli})
	if err != nil {
		return 0, err
	}
	c, err := adapter.Command(request)
	if err != nil {
		return 0, err
	}
	for _, file := range c.Files {
		path := filepath.Join(base, filepath.FromSlash(file.Name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, file.Data, 0o600)); err != nil {
			return 0, err
		}
	}
	argv := slices.Concat(command, c.Argv)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.WaitDelay = base, 5*time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	set := clis.Env(modelURL)
	maps.Copy(set, c.Set)
	set["HOME"] = home
	cmd.Env = backend.Env(os.LookupEnv, os.Environ(), backend.BasePass(), set)
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return 0, err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	t := talk{machine: adapter.Machine(request), stdin: stdin, lines: bufio.NewReader(stdout)}
	t.begin(c)
	for !t.ended {
		if t.next() && took == 0 {
			took = time.Since(begun)
		}
	}
	if took == 0 {
		err = fmt.Errorf("no text: %s", tail(stderr.String()))
	}
	return took, err
}

// talk is a CLI's output through its machine, and what that answers.
type talk struct {
	machine backend.Machine
	stdin   io.WriteCloser
	lines   *bufio.Reader
	ended   bool
}

// begin gives the prompt. A write that fails is the CLI's death, which the end of
// stdout tells too.
func (t *talk) begin(c backend.Command) {
	if c.Input == backend.PromptFile {
		_, _ = t.stdin.Write(c.Prompt)
		_ = t.stdin.Close()
		return
	}
	t.say(t.machine.Open())
}

func (t *talk) say(lines [][]byte) {
	for _, line := range lines {
		_, _ = t.stdin.Write(append(line, '\n'))
	}
}

// next reads a line, and tells whether it brought text. The answer goes on after the
// first: a CLI's next start should find what this one has saved.
func (t *talk) next() (text bool) {
	line, err := t.lines.ReadBytes('\n')
	var events []backend.Event
	if len(line) > 0 {
		var write [][]byte
		events, write = t.machine.Line(bytes.TrimSuffix(line, []byte("\n")))
		t.say(write)
	}
	if err != nil {
		events = append(events, t.machine.Close()...)
		t.ended = true
	}
	for _, e := range events {
		switch e.Kind {
		case backend.Text:
			text = true
		case backend.Done, backend.Failed:
			t.ended = true
		}
	}
	return text
}
