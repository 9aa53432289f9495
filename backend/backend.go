// Package backend is what the daemon asks of a CLI, and what it understands of its
// output: how to start it for a request, and how its lines become events. Each
// backend below it is a pure state machine: no I/O, no clock, no process; the same
// lines always give the same events, which is what makes replay, tests from
// recordings and fuzzing work.
//
//	run --Request--> Backend.Command --Command--> spawn     how it is started
//	spool --line--> Machine.Line --Event, writes--> reader   what it says
//
//	kinds/      the table: name -> backend; tests of all of them
//	claude/ codex/ gemini/ pi/      a CLI each
//	acp/        any agent of the Agent Client Protocol, with kimi and opencode
//	program/    any program: its text (exec), or our own event lines (jsonl)
//	structured/ around any of them: an answer held to a schema, which schema/ checks
//	parse/      what they share: answer, failure, usage, bounded text, halves of a code point
//	jsonrpc/    our side of a JSON-RPC conversation (codex, acp)
//	provider/   the script that tells of model calls inside a CLI, and its lines
//
// Here: backend.go, the contract; command.go, what goes into a Command; attachments.go,
// what goes with a prompt; env.go, a child's environment; version.go.
package backend

import (
	"encoding/json"
	"strings"
)

// Request is what one run asks of a CLI.
type Request struct {
	Model       string // the CLI's own model name; "" is the CLI's default
	System      string // system text; a backend without a system option puts it before the prompt
	Prompt      string // already flattened to one text
	Session     string // the CLI's own id of a session to resume; "" starts a new one
	Cwd         string // absolute
	Tmp         string // private TMPDIR of this run, absolute
	Dir         string // the run's directory; Files are written below it
	Effort      string // "", "low", "medium", "high", ... where the CLI has it
	Permissions string // "bypass", "plan", "default"
	Root        bool   // the child runs as uid 0
	MemoryMax   int64  // bytes; lets a runtime size its heap (NODE_OPTIONS)
	Version     string // the CLI's own word for it; "" is unknown
	// Attachments go with the prompt, in order. The next daemon needs them only as long as
	// the prompt.
	Attachments []Attachment `json:",omitempty"`
	// Schema is the JSON Schema that the answer has to keep to, and AnyObject that it has
	// to be some JSON object; neither is free text.
	Schema    json.RawMessage `json:",omitempty"`
	AnyObject bool            `json:",omitempty"`
	// Converse has a CLI that can be started in two ways be started as one that is spoken to
	// (Conversation). Package run sets it where Attachments, Schema or AnyObject ask for
	// it; it stays in the checkpoint, so that a replay makes the same machine. Runs of
	// daemons before it existed don't have it.
	Converse bool `json:",omitempty"`
}

// Attachment is an image, or a file, that goes with the prompt.
type Attachment struct {
	Name string `json:"name"` // a plain file name without a slash
	Type string `json:"type"` // media type: image/png, image/jpeg, image/gif, image/webp, of an image; else a file's
	Data []byte `json:"-"`
}

// IsImage tells an attachment that is to be seen from one that is to be read.
func (a Attachment) IsImage() bool { return strings.HasPrefix(a.Type, "image/") }

// Input is how the prompt reaches the CLI. Never on a command line.
type Input int

const (
	PromptFile   Input = iota // Command.Prompt is a regular file on stdin
	Conversation              // stdin is a FIFO the child holds open; the machine's writes go there
)

// Framing is how stdout is cut before it reaches the machine.
type Framing int

const (
	Lines Framing = iota // one LF-ended line at a time, without the LF
	Words                // raw text: cut after each space or newline, at 4096 bytes at most, never inside a code point
)

// File is a small file that a backend wants below the run's directory (mode 0600).
type File struct {
	Name string // relative, slash separated
	Data []byte
}

// Command is how to start the CLI for one request.
type Command struct {
	Argv    []string          // after the configured command; the prompt is never in it
	Set     map[string]string // environment to set
	Pass    []string          // names to pass on from the daemon's environment; NAME or PREFIX_*
	Input   Input
	Prompt  []byte // content of stdin for PromptFile
	Files   []File
	SoftEnd bool // SIGTERM and grace help it to save its session
	// Settle is true when the CLI exits by itself after its terminal event and
	// should be given the grace period to do so; else it is ended at once.
	Settle bool
}

// Kind of an event.
type Kind int

const (
	Text        Kind = iota + 1 // Event.Text is answer text
	Reasoning                   // Event.Text is thinking
	ToolUse                     // Event.Tool: the CLI's own tool activity
	Session                     // Event.Session: the CLI's id of this conversation
	UsageReport                 // Event.Usage: replaces earlier reports of this run
	Void                        // answer text after the first Event.Keep bytes is void; a replacement follows
	Notice                      // Event.Text: a retry or warning the CLI told; not part of the answer
	Failed                      // terminal: Event.Failure
	Done                        // terminal: Event.Finish
)

// Event is one thing that a backend understood. Seq is assigned by the reader: the
// ordinal in the run, from 1, identical in every replay.
type Event struct {
	Seq     uint64
	Kind    Kind
	Text    string
	Tool    *Tool
	Session string
	Usage   *Usage
	Failure *Failure
	Finish  string // "stop", "length" or "content_filter"
	Keep    int    // Void: bytes of answer text that stay valid
}

// Tool is one step of the CLI's own tool use; it already ran or runs.
type Tool struct {
	ID     string `json:"id,omitempty"`
	Name   string `json:"name"`
	Status string `json:"status"`           // "started", "completed", "failed"
	Input  string `json:"input,omitempty"`  // JSON or text, bounded by ToolTextMax
	Output string `json:"output,omitempty"` // bounded by ToolTextMax
}

// ToolTextMax bounds Tool.Input and Tool.Output, in bytes.
const ToolTextMax = 16 << 10

// Failure is the CLI's own word that it failed.
type Failure struct {
	Code    string // "cli_error", "provider_auth", "provider_rate_limit", "provider_error", "invalid_output", "unsupported_input"
	Message string
	Status  int // the provider's HTTP status; 0 when unknown
	// SessionUnknown: the CLI doesn't know the session that it was to resume, and
	// has called no model and run no tool. Only said where it is certain.
	SessionUnknown bool
}

// Machine is one parse of one run's output. Not safe for concurrent use: each
// reader has its own.
type Machine interface {
	// Open gives the lines to write to a conversational CLI before it says anything.
	Open() (write [][]byte)
	// Line takes one frame; the slice is only valid during the call. Writes are
	// complete lines without LF; a replay drops them. Never panics, whatever the bytes.
	Line(line []byte) (events []Event, write [][]byte)
	// Close is called once, when stdout has ended: text still held comes out here.
	Close() []Event
}

// Reprompter is a Machine whose CLI can be told another prompt once its turn is over.
type Reprompter interface {
	Machine
	// Reprompt begins another turn after Done: the machine takes lines again, its answer
	// text and usage go on from where they were, and Done or Failed ends the turn.
	Reprompt(text string) (write [][]byte)
}

// Backend is one CLI with its configuration. Safe for concurrent use.
type Backend interface {
	Name() string
	Kind() string // claude, codex, opencode, kimi, gemini, pi, exec, jsonl, acp, demo
	Framing() Framing
	Command(Request) (Command, error)
	Machine(Request) Machine
	// Features the server needs to know to refuse what can't be honoured.
	Features() Features
}

// Features of a backend.
type Features struct {
	Resume bool // sessions can be resumed
	System bool // has a system option of its own
	Effort bool
	// Efforts are the words that Effort may be, lowest first; nil where the CLI is to say.
	Efforts []string
	// Images: pictures can reach the model. Files: documents can reach the CLI.
	Images, Files bool
	// JSONSchema: the CLI itself holds the answer to Request.Schema. Any other CLI is told the
	// schema, and the answer is validated here (package structured).
	JSONSchema bool
	// TakesSchema is false for a schema that the CLI, or its model's provider, doesn't take;
	// that one is told and validated as for a CLI without JSONSchema. nil takes all.
	TakesSchema func(json.RawMessage) bool
	// PlainExit: the CLI has no terminal event, its exit status is its last
	// word (spawn.Facts.PlainExit). Else exit 0 without a terminal event is a failure.
	PlainExit bool
	// Exit is what the CLI's own exit status, with its last words on stderr, says
	// of a turn that has no terminal event; nil says nothing. A status of -1 is
	// not known. May be nil.
	Exit func(status int, stderr string) *Failure
}

// Config is a backend's configuration, as resolved from the file.
type Config struct {
	Name        string
	Kind        string
	ExtraArgs   []string
	SetEnv      map[string]string
	Env         []string // names to pass on beside the backend's own
	Permissions string
}

// Usage in OpenAI's words. A nil field is a figure that the CLI does not report,
// or not as a count can be: what is unknown is absent, never 0.
type Usage struct {
	PromptTokens     *int64 // cached ones included
	CompletionTokens *int64
	CachedTokens     *int64
	ReasoningTokens  *int64
	CostUSD          *float64 // as the CLI reports it
}
