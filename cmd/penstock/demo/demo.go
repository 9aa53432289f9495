// Package demo is the built-in agent behind the demo backend: it echoes its
// prompt and misbehaves as it is told, to show what holds a run.
//
//	Run: prompt on stdin, event lines (kind "jsonl") on stdout     demo.go
//	 |  one word at a time: an order, or an echo
//	 +- /sleep /cpu /delay /alloc /spew /exit                      load.go
//	 +- /fork /daemonize /holdstdout /outlive /ignoreterm          children.go
//	 +- /escape: try every other cgroup, by all ways               escape.go
package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// promptMax bounds the prompt that the demo reads, in bytes.
const promptMax = 16 << 20

// exitStatus ends the demo with a status; not an error to report.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit %d", int(e)) }

// program is one run of the agent.
type program struct {
	ctx    context.Context
	stdout io.Writer
	stderr io.Writer
	self   []string // argv that starts this program again
	delay  time.Duration
	words  int64    // echoed
	held   [][]byte // by /alloc, to the end of the run
}

// Run is the hidden subcommand `penstock demo`: prompt on stdin, event lines on
// stdout (backend/program/jsonl.go). It returns the exit status. These words of
// the prompt are orders, some with the next word as argument; sizes like
// 500MiB, times like 5 (seconds) or 20ms:
//
//	/sleep T  /cpu T      wait or spin so long
//	/delay T              pause before each further word
//	/alloc SIZE           touch so much memory and keep it
//	/spew SIZE            write so much text
//	/fork N               N children that sleep for 300 s, as do those below
//	/daemonize            a grandchild in a session of its own that holds stdout
//	/holdstdout           a child that holds stdout
//	/outlive              a child in a session of its own
//	/ignoreterm           a child that ignores SIGTERM
//	/escape               try to move to every other cgroup, and say how it went
//	/stderr WORD          write to stderr
//	/last JSON            write it, or a word, and leave the rest of the prompt: an answer for a schema
//	/exit N  /kill        exit with N, or by SIGKILL
func Run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer) int {
	p := &program{ctx: ctx, stdout: stdout, stderr: stderr, self: []string{"/proc/self/exe", "demo"}}
	return p.run(stdin)
}

func (p *program) run(stdin io.Reader) int {
	if role := os.Getenv(roleVariable); role != "" {
		return p.child(role)
	}
	var exit exitStatus
	switch err := p.answer(stdin); {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	default:
		fmt.Fprintln(p.stderr, "demo:", err)
		_ = p.say(map[string]any{"error": err.Error()}) // stdout may be what broke
		return 1
	}
}

func (p *program) answer(stdin io.Reader) error {
	prompt, err := io.ReadAll(io.LimitReader(stdin, promptMax))
	if err != nil {
		return fmt.Errorf("read the prompt: %w", err)
	}
	if err := p.say(map[string]any{"session": sessionID()}); err != nil {
		return err
	}
	words := strings.Fields(string(prompt))
	asked := len(words)
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		argument := ""
		if takesArgument(word) && len(words) > 0 {
			argument, words = words[0], words[1:]
		}
		if word == "/last" {
			argument, words = lastOf(string(prompt), argument), nil
		}
		if err := p.do(word, argument); err != nil {
			return err
		}
	}
	if err := p.say(map[string]any{"usage": map[string]any{"prompt_tokens": asked, "completion_tokens": p.words}}); err != nil {
		return err
	}
	return p.say(map[string]any{"done": true})
}

// lastOf is the JSON value after /last, blanks in it too; without one it is the word.
func lastOf(prompt, word string) string {
	var value json.RawMessage
	_, rest, _ := strings.Cut(prompt, "/last")
	if json.NewDecoder(strings.NewReader(rest)).Decode(&value) == nil {
		return string(value)
	}
	return word
}

// sessionID is the session asked to be resumed, else a new one.
func sessionID() string {
	if id := os.Getenv("AGENT_SESSION"); id != "" {
		return id
	}
	id := make([]byte, 6)
	_, _ = rand.Read(id) // never fails: crypto/rand
	return "demo-" + hex.EncodeToString(id)
}

// takesArgument is true for orders with an argument.
func takesArgument(word string) bool {
	switch word {
	case "/sleep", "/cpu", "/delay", "/alloc", "/spew", "/fork", "/stderr", "/exit", "/last":
		return true
	}
	return false
}

// do obeys one word, or echoes it.
func (p *program) do(word, argument string) error {
	var err error
	switch word {
	case "/sleep", "/cpu", "/delay":
		err = p.timed(word, argument)
	case "/alloc", "/spew":
		err = p.sized(word, argument)
	case "/fork":
		err = p.fork(argument)
	case "/daemonize", "/holdstdout", "/outlive", "/ignoreterm":
		err = p.spawn(word)
	case "/escape":
		err = p.escape()
	case "/stderr":
		_, err = fmt.Fprintln(p.stderr, argument)
	case "/exit":
		return p.exit(argument)
	case "/last":
		return p.echo(argument)
	case "/kill":
		err = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	default:
		return p.echo(word)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", strings.TrimSpace(word+" "+argument), err)
	}
	return nil
}

func (p *program) echo(word string) error {
	if p.delay > 0 {
		if err := p.sleep(p.delay); err != nil {
			return err
		}
	}
	p.words++
	return p.say(map[string]any{"text": word + " "})
}

// say writes one event line, in one write: a reader sees it whole and at once.
func (p *program) say(event any) error {
	line, err := json.Marshal(event)
	if err != nil {
		return err
	}
	if _, err := p.stdout.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}
