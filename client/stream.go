package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/internal/backoff"
)

const (
	// idleMax is how long a stream may say nothing; the daemon pings every 8 s.
	idleMax = 45 * time.Second
	// triesMax is how often a cut stream is attached again without anything new.
	triesMax = 8
	waitMin  = 250 * time.Millisecond
	waitMax  = 5 * time.Second
)

// Event is one thing a stream told.
type Event struct {
	ID         int64  // -1 without one, as a piece of a long event that is not its last
	Comment    string // a comment: "queued position=3", "ping", "caught up"
	Reattached int    // the stream was cut, and is attached to for the so many'th time
	Raw        []byte // the frame's JSON
	Chunk
}

// Chunk is what a chat.completion.chunk says.
type Chunk struct {
	Text, Reasoning string
	Tool            *backend.Tool
	Finish          string          // why it ended, in its last chunk but one
	Usage           json.RawMessage // in the account: tokens as the CLI tells them
	Cost            json.RawMessage
	Receipt         *cgroup.Receipt
}

// Stream is one reading of a run. Not safe for concurrent use.
type Stream struct {
	ctx       context.Context
	client    *Client
	ask       request
	resumable bool // may be attached again after a cut
	raw       io.Writer

	id   string
	last int64 // number of the last event; -1 before any
	// unnumbered is what was told after the last number: a stream that is attached again
	// brings it again, and skip is how much of that is still to come.
	unnumbered, skip answerBytes
	tries            int
	frames           *frames
	stop             func() // ends the present connection
	idle             *time.Timer
	err              error // sticky
}

// answerBytes counts bytes of an answer.
type answerBytes struct{ text, reasoning int }

// open attaches for the first time: an error is final.
func (c *Client) open(ctx context.Context, ask request, after int64, again bool) (*Stream, error) {
	s := &Stream{ctx: ctx, client: c, ask: ask, resumable: again, last: after}
	if err := s.attach(); err != nil {
		return nil, err
	}
	return s, nil
}

// RunID is the run's id.
func (s *Stream) RunID() string { return s.id }

// Raw has every line of the stream written to w as it is, from now on.
func (s *Stream) Raw(w io.Writer) { s.raw, s.frames.raw = w, w }

// Close lets the connection go; with it comes the end of a run without a name of its own.
func (s *Stream) Close() {
	s.detach()
	s.err = errors.Join(s.err, errClosed)
}

var (
	errClosed = errors.New("stream is closed")
	errIdle   = fmt.Errorf("nothing heard for %s", idleMax)
)

func (s *Stream) attach() error {
	ctx, cancel := context.WithCancelCause(s.ctx)
	ask := s.ask
	ask.header = s.ask.header.Clone()
	if ask.header == nil {
		ask.header = http.Header{}
	}
	if s.last >= 0 {
		ask.header.Set("Last-Event-ID", strconv.FormatInt(s.last, 10))
	}
	// It is armed before the reply's headers: those come at once.
	s.idle = time.AfterFunc(idleMax, func() { cancel(errIdle) })
	resp, err := s.client.send(ctx, ask)
	if err != nil {
		s.idle.Stop()
		cancel(nil)
		return err
	}
	s.stop = func() { s.idle.Stop(); cancel(nil); resp.Body.Close() }
	s.frames = newFrames(resp.Body, s.raw)
	s.skip = answerBytes{s.unnumbered.text + s.skip.text, s.unnumbered.reasoning + s.skip.reasoning}
	s.unnumbered = answerBytes{}
	if id := resp.Header.Get("X-Run-Id"); id != "" {
		s.id = id
	}
	return nil
}

func (s *Stream) detach() {
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
}

// Next waits for the next event. It returns io.EOF after the end of a run that
// completed, an *Error (with the frame in Event.Raw) after any other, a *Cut when
// the connection was lost for good, and the context's cause when that ended.
func (s *Stream) Next() (Event, error) {
	if s.err != nil {
		return Event{ID: -1}, s.err
	}
	e, err := s.next()
	if err != nil {
		s.err = err
		s.detach()
	}
	return e, err
}

func (s *Stream) next() (Event, error) {
	if s.stop == nil {
		if err := s.reattach(); err != nil {
			return Event{ID: -1}, err
		}
	}
	s.idle.Reset(idleMax)
	f, err := s.frames.next()
	if err != nil {
		return s.cut(err)
	}
	if f.data == nil {
		return Event{ID: -1, Comment: f.comment}, nil
	}
	if string(f.data) == "[DONE]" {
		return Event{ID: -1}, io.EOF
	}
	e := Event{ID: f.id, Raw: f.data}
	err = e.decode(f.data)
	s.dropSeen(&e)
	if f.id >= 0 {
		s.last, s.tries = f.id, 0
		s.unnumbered, s.skip = answerBytes{}, answerBytes{}
	}
	if told := new(Error); s.resumable && errors.As(err, &told) && told.runGoesOn() {
		return s.cut(err)
	}
	if err != nil && s.raw != nil {
		_, _ = s.frames.next() // [DONE], which belongs to every line
	}
	return e, err
}

// dropSeen takes out of e what was told before the stream was cut.
func (s *Stream) dropSeen(e *Event) {
	s.unnumbered.text += len(e.Text)
	s.unnumbered.reasoning += len(e.Reasoning)
	text, reasoning := min(s.skip.text, len(e.Text)), min(s.skip.reasoning, len(e.Reasoning))
	e.Text, e.Reasoning = e.Text[text:], e.Reasoning[reasoning:]
	s.skip.text -= text
	s.skip.reasoning -= reasoning
}

// cut tells of the cut, or that it is for good.
func (s *Stream) cut(err error) (Event, error) {
	s.detach()
	if s.ctx.Err() != nil {
		return Event{ID: -1}, context.Cause(s.ctx)
	}
	if !s.resumable || s.tries >= triesMax {
		return Event{ID: -1}, &Cut{RunID: s.id, Tries: s.tries, Err: err}
	}
	s.tries++
	return Event{ID: -1, Reattached: s.tries}, nil
}

// reattach waits a little longer each time. Only what time can mend is tried again.
func (s *Stream) reattach() error {
	for {
		pause := backoff.Policy{First: waitMin, Max: waitMax}
		if err := pause.Wait(s.ctx, s.tries-1); err != nil {
			return err
		}
		err := s.attach()
		var told *Error
		switch {
		case err == nil:
			return nil
		case s.ctx.Err() != nil:
			return context.Cause(s.ctx)
		case errors.As(err, &told) && told.Status < http.StatusInternalServerError:
			return err
		case s.tries >= triesMax:
			return &Cut{RunID: s.id, Tries: s.tries, Err: err}
		}
		s.tries++
	}
}

// decode takes a frame in; that of a failure is an *Error.
func (e *Event) decode(data []byte) error {
	var c struct {
		Choices []struct {
			Delta struct {
				Content   string        `json:"content"`
				Reasoning string        `json:"reasoning_content"`
				Tool      *backend.Tool `json:"x_tool"`
			} `json:"delta"`
			Finish string `json:"finish_reason"`
		} `json:"choices"`
		Usage   json.RawMessage `json:"usage"`
		Cost    json.RawMessage `json:"x_cost"`
		Receipt *cgroup.Receipt `json:"x_receipt"`
		Error   *Error          `json:"error"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return fmt.Errorf("frame %d of the stream: %w", e.ID, err)
	}
	if c.Error != nil {
		return c.Error
	}
	for _, choice := range c.Choices {
		e.Text += choice.Delta.Content
		e.Reasoning += choice.Delta.Reasoning
		if choice.Delta.Tool != nil {
			e.Tool = choice.Delta.Tool
		}
		if choice.Finish != "" {
			e.Finish = choice.Finish
		}
	}
	e.Usage, e.Cost, e.Receipt = c.Usage, c.Cost, c.Receipt
	return nil
}
