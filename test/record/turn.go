package main

import (
	"bufio"
	"bytes"
	"context"
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

// took is what one turn gave.
type took struct {
	output, stderr []byte
	lines, texts   int
	session        string
	last           backend.Event
	exit           string
}

// turn runs the CLI once, as the daemon would, and follows it to its end.
func (r recorder) turn(ctx context.Context, cli string, s scenario, p *place, request backend.Request) (took, error) {
	ctx, cancel := context.WithTimeout(ctx, turnMax)
	defer cancel()
	adapter, err := kinds.New(backend.Config{Name: cli, Kind: cli, SetEnv: knobs(cli, s.retry)})
	if err != nil {
		return took{}, err
	}
	command, err := adapter.Command(request)
	if err != nil {
		return took{}, err
	}
	if err := writeFiles(request.Dir, command.Files); err != nil {
		return took{}, err
	}
	argv := slices.Concat(r.commands[cli], command.Argv)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir = request.Cwd
	cmd.Env = environment(p, command)
	cmd.WaitDelay = 5 * time.Second
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return took{}, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return took{}, err
	}
	if err := cmd.Start(); err != nil {
		return took{}, err
	}
	f := follower{machine: adapter.Machine(request), command: command, process: cmd.Process, stdin: stdin, scenario: s, verbose: r.verbose, again: s.again}
	f.begin()
	f.follow(stdout)
	err = cmd.Wait()
	f.took.exit = cmd.ProcessState.String()
	f.took.stderr = stderr.Bytes()
	if r.verbose {
		fmt.Printf("stderr: %s\n", f.took.stderr)
	}
	var status *exec.ExitError
	if err != nil && !errors.As(err, &status) && !errors.Is(err, exec.ErrWaitDelay) {
		return f.took, err
	}
	return f.took, ctx.Err()
}

func writeFiles(dir string, files []backend.File) error {
	for _, file := range files {
		path := filepath.Join(dir, filepath.FromSlash(file.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, file.Data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// environment is what the daemon would give, and what points the CLI at the
// scripted model; the adapter's own settings win.
func environment(p *place, command backend.Command) []string {
	set := clis.Env(p.model.URL())
	delete(set, "IS_SANDBOX") // the adapter's own business
	maps.Copy(set, command.Set)
	set["HOME"] = p.home
	return backend.Env(os.LookupEnv, os.Environ(), backend.BasePass(), set)
}

// follower feeds one CLI's stdout to its machine and does what the machine asks.
type follower struct {
	machine  backend.Machine
	command  backend.Command
	process  *os.Process
	stdin    io.WriteCloser
	scenario scenario
	verbose  bool
	took     took
	again    string // the second prompt, until it is told
	ended    bool
}

// begin gives the CLI its prompt. A write that fails is the CLI's death, which
// the end of stdout tells too.
func (f *follower) begin() {
	if f.command.Input == backend.PromptFile {
		_, _ = f.stdin.Write(f.command.Prompt)
		_ = f.stdin.Close()
		return
	}
	f.say(f.machine.Open())
}

func (f *follower) say(lines [][]byte) {
	for _, line := range lines {
		if f.verbose {
			fmt.Printf("-> %.400s\n", line)
		}
		_, _ = f.stdin.Write(append(line, '\n'))
	}
}

func (f *follower) follow(stdout io.Reader) {
	lines := bufio.NewReader(stdout)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) > 0 {
			f.line(line)
		}
		if err != nil {
			break
		}
	}
	f.note(f.machine.Close())
}

func (f *follower) line(line []byte) {
	f.took.lines++
	f.took.output = append(f.took.output, line...)
	events, write := f.machine.Line(bytes.TrimSuffix(line, []byte("\n")))
	if f.verbose {
		fmt.Printf("<- %.400s\n", line)
	}
	f.note(events)
	f.say(write)
	if kill := f.scenario.kill; kill > 0 && f.took.texts >= kill && !f.ended {
		f.ended = true
		_ = f.process.Kill()
		f.took.output = f.took.output[:len(f.took.output)-len(line)/2]
	}
}

func (f *follower) note(events []backend.Event) {
	for _, e := range events {
		if f.verbose {
			fmt.Printf("   %s\n", describe(e))
		}
		f.took.last = e
		switch e.Kind {
		case backend.Text:
			f.took.texts++
		case backend.Session:
			f.took.session = e.Session
		case backend.Done, backend.Failed:
			if m, ok := f.machine.(backend.Reprompter); ok && f.again != "" && e.Kind == backend.Done {
				f.say(m.Reprompt(f.again))
				f.again = ""
				continue
			}
			f.end()
		}
	}
}

// end lets a CLI that has said its last word go, as the daemon would.
func (f *follower) end() {
	if f.ended {
		return
	}
	f.ended = true
	_ = f.stdin.Close()
	if !f.command.Settle {
		_ = f.process.Signal(syscall.SIGKILL)
	}
}

func describe(e backend.Event) string {
	text := fmt.Sprintf("kind=%d", e.Kind)
	switch e.Kind {
	case backend.Text, backend.Reasoning, backend.Notice:
		return fmt.Sprintf("%s %.200q", text, e.Text)
	case backend.ToolUse:
		return fmt.Sprintf("%s %+v", text, *e.Tool)
	case backend.UsageReport:
		return fmt.Sprintf("%s %+v", text, *e.Usage)
	case backend.Failed:
		return fmt.Sprintf("%s %+v", text, *e.Failure)
	}
	return fmt.Sprintf("%s session=%q keep=%d finish=%q", text, e.Session, e.Keep, e.Finish)
}
