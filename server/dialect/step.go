package dialect

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"penstock/backend"
	"penstock/outcome"
	"penstock/server/web"
)

// Dialect is one way to say an answer.
type Dialect interface {
	// Stream begins the encoding of one stream; again gives the steps once more that it has
	// been given so far. Streams are not safe for concurrent use.
	Stream(out *web.SSE, a *Answer, again Steps) Stream
	// Whole is the answer as one object.
	Whole(a *Answer) Whole
}

// Answer is what all that is said of one answer has in common: the same in each reading.
type Answer struct {
	Run      string // its id, of which those of the answer are made (ids.go)
	Model    string // as the client wrote it
	Created  time.Time
	Received time.Time       // of the request; what a stream says before its run is created has no other time
	Backend  string          // its name
	Echo     json.RawMessage // see Request
	// Insistent: the client is a program that asks again, unasked, for an answer that its model's
	// provider has refused (see InsistentClient); it is told so in words that it doesn't repeat.
	Insistent bool
	// After is the number of the last frame that the reader has seen before, in the dialect's
	// own numbers; -1 is none.
	After        int64
	IncludeUsage bool // see Request
}

// InsistentClient tells the clients that ask again for a refusal, by what they call themselves: codex
// (0.169.0) six times at content_filter, Claude Code (2.1.330) once more at a refusal.
func InsistentClient(h http.Header) bool {
	for _, name := range []string{h.Get("User-Agent"), h.Get("Originator")} {
		if strings.HasPrefix(name, "codex") || strings.HasPrefix(name, "claude-cli/") {
			return true
		}
	}
	return false
}

// Place is where in a run's events something was said. A text may be cut into pieces, of
// which Last is the one that its event ends with.
type Place struct {
	Seq   uint64 // of the event, from 1; of several that were put together the last one's
	Piece int    // from 0
	Last  bool
}

// Step is one thing that a run's events say to a client.
type Step struct {
	Place
	// First is the number of the first event in it; where not several were put together, Seq.
	First uint64
	Kind  backend.Kind // Text, Reasoning or ToolUse
	Text  string
	Tool  *backend.Tool
}

// End is how a run went, for its client.
type End struct {
	Seq      uint64 // of the last event
	Finish   string // "stop", "length" or "content_filter"; "" is not known
	Usage    *backend.Usage
	Receipt  *outcome.Receipt
	Metadata json.RawMessage
	Session  *Session
}

// Session is what became of the answer's conversation.
type Session struct {
	ID      string `json:"id"`
	Resumed bool   `json:"resumed"` // by the CLI's own session; else it was told the conversation
}

// Stream says an answer step by step. Open may be called once and is followed by Begin, that
// by any number of Steps, and those by End; Fail may come in the place of each but the first,
// and ends it. The driver flushes, and writes comments between them.
type Stream interface {
	// Open is before the run has begun; queued tells that it waits in a line.
	Open(queued bool) error
	// Begin is when the run has begun.
	Begin() error
	// Seen tells whether the reader has seen what is said of a Place before. That is to be
	// given to Step all the same, piece by piece: it is not written, and known from then on.
	Seen(p Place) bool
	Step(s Step) error
	// Ping keeps a connection alive on which nothing is said.
	Ping() error
	// End says that the answer is whole, and ends the stream.
	End(e End) error
	// Fail says that there is no answer, or not all of it, and ends the stream.
	Fail(why *web.Error, e End) error
}

// Steps begins one more reading of an answer, from its first step. Any number may be under way.
type Steps func() Reading

// Reading gives steps one by one, each as its event has it: neither put together with others
// nor cut. It needs no end.
type Reading interface {
	// Next gives the next step; not ok is that there is no other, or none so far.
	Next() (s Step, ok bool, err error)
}

// Each gives all steps in their order, until that fails.
func (again Steps) Each(each func(Step) error) error {
	for r := again(); ; {
		s, ok, err := r.Next()
		if err != nil || !ok {
			return err
		}
		if err := each(s); err != nil {
			return err
		}
	}
}

// Contents is what there is in an answer.
type Contents struct{ Reasoned, Tools bool }

// Whole says an answer as one object.
type Whole interface {
	Write(w io.Writer, e End, known Contents, again Steps) error
	// Fail gives the object that tells a client why there is no answer, where the status
	// that would tell it is out already.
	Fail(why *web.Error) any
}
