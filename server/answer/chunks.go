package answer

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"penstock/backend"
	"penstock/run"
	"penstock/server/openai"
	"penstock/server/web"
)

const (
	// pieceMax bounds the text of one chunk, in bytes as JSON: with its frame a line
	// stays below the 32 KiB that every known line reader takes.
	pieceMax = 29 << 10
	// shareMax is how much of it neighbours may make together: each stream holds
	// that, and the frame is small beside it.
	shareMax = 4 << 10
)

// pendingDelta collects neighbouring deltas of one kind until they are sent as one chunk.
type pendingDelta struct {
	kind backend.Kind
	text strings.Builder
	size int    // of text as JSON
	last uint64 // number of the last event in it
}

func (u *pendingDelta) add(kind backend.Kind, text string, size int, seq uint64) {
	u.kind, u.last = kind, seq
	u.size += size
	u.text.WriteString(text)
}

// chunkWriter writes the chunks of one run's stream.
type chunkWriter struct {
	web.SSE
	w       *web.Reply
	base    *openai.Completion // what all chunks of the run have in common
	after   int64              // events up to this number were seen before; -1 is none
	pending pendingDelta
	content textFrame
	thought textFrame // reasoning
}

// textFrame is the JSON around a text: all that a chunk has beside. The zero value is none yet.
type textFrame struct{ head, tail string }

// jsonSize is how many bytes text has inside a JSON string, as an sse writes it,
// of which at most limit are counted: fits is the length of the longest prefix
// within them that ends with a code point, and size is that prefix's.
func jsonSize(text string, limit int) (fits, size int) {
	for fits < len(text) {
		cost, width := 1, 1
		switch c := text[fits]; {
		case c == '"', c == '\\', c == '\n', c == '\r', c == '\t', c == '\b', c == '\f':
			cost = 2
		case c < 0x20:
			cost = len(`\u0000`)
		case c >= utf8.RuneSelf:
			var r rune
			r, width = utf8.DecodeRuneInString(text[fits:])
			cost = width
			if r == '\u0085' || r == '\u2028' || r == '\u2029' || (r == utf8.RuneError && width == 1) {
				cost = len(`\u2028`)
			}
		}
		if size+cost > limit {
			break
		}
		fits += width
		size += cost
	}
	return fits, size
}

// delta takes the text of one event. Small ones wait for their neighbours, until
// pause; a large one is cut. A chunk that ends with the end of an event has that
// event's number, any other has none: what a stream that resumes after a number
// brings is exactly what follows the chunk that had it.
func (s *chunkWriter) delta(kind backend.Kind, text string, seq uint64) error {
	fits, size := jsonSize(text, pieceMax)
	if s.pending.kind != kind || s.pending.size+size > shareMax {
		if err := s.send(); err != nil {
			return err
		}
	}
	for fits < len(text) {
		if err := s.textChunk(web.NoID, kind, text[:fits]); err != nil {
			return err
		}
		text = text[fits:]
		fits, size = jsonSize(text, pieceMax)
	}
	if size > shareMax {
		return s.textChunk(int64(seq), kind, text)
	}
	s.pending.add(kind, text, size, seq)
	return nil
}

// send writes what waits for its neighbours.
func (s *chunkWriter) send() error {
	if s.pending.kind == 0 {
		return nil
	}
	u := s.pending
	s.pending = pendingDelta{}
	return s.textChunk(int64(u.last), u.kind, u.text.String())
}

// textChunk writes a chunk that has nothing but a text.
func (s *chunkWriter) textChunk(id int64, kind backend.Kind, text string) error {
	frame := &s.content
	if kind == backend.Reasoning {
		frame = &s.thought
	}
	if frame.head == "" {
		if err := s.frame(frame, kind); err != nil {
			return err
		}
	}
	return s.Text(id, frame.head, text, frame.tail)
}

// frame takes apart a chunk whose text is known. What is in its place can't stand elsewhere
// in it: inside of a JSON string its quotes would be escaped.
func (s *chunkWriter) frame(f *textFrame, kind backend.Kind) error {
	c := *s.base
	delta := deltaOf(kind, "x")
	c.Choices = []openai.Choice{{Delta: &delta}}
	var whole strings.Builder
	if err := web.NewLineEncoder(&whole).Encode(c); err != nil {
		return err
	}
	head, tail, ok := strings.Cut(strings.TrimSuffix(whole.String(), "\n"), `:"x"},`)
	if !ok {
		return fmt.Errorf("chunk %s: no text to be cut out", whole.String())
	}
	f.head, f.tail = head+":", "},"+tail
	return nil
}

func deltaOf(kind backend.Kind, text string) openai.Delta {
	if kind == backend.Reasoning {
		return openai.Delta{Reasoning: text}
	}
	return openai.Delta{Content: &text}
}

// lineTool is t for a stream: its texts are cut so that all of them fit into one line.
func lineTool(t *backend.Tool) *backend.Tool {
	const name = 1 << 10
	short := *t
	for _, part := range []struct {
		text *string
		most int
	}{{&short.ID, name}, {&short.Name, name}, {&short.Input, pieceMax/2 - name}, {&short.Output, pieceMax/2 - name}} {
		if fits, _ := jsonSize(*part.text, part.most); fits < len(*part.text) {
			*part.text = (*part.text)[:fits] + "…"
		}
	}
	return &short
}

// commentOrOpen is a comment; the first one opens the reply.
func (s *chunkWriter) commentOrOpen(text string) error {
	if s.w.Begun() {
		return s.Comment(text)
	}
	return s.Open(text)
}

// first is the role delta: number 0, before any event.
func (s *chunkWriter) first() error {
	if s.after >= 0 {
		return nil
	}
	empty := ""
	if err := s.chunk(0, openai.Delta{Role: openai.RoleAssistant, Content: &empty}); err != nil {
		return err
	}
	return s.Flush()
}

func (s *chunkWriter) chunk(id int64, d openai.Delta) error {
	c := *s.base
	c.Choices = []openai.Choice{{Delta: &d}}
	return s.Data(id, c)
}

// newChunk is NewCompletion for a stream. By pointer: a record and an answer on
// the stack of each stream would double it, for as long as it lasts.
func newChunk(r *run.Run) *openai.Completion {
	c := completionOf("chat.completion.chunk", r.Record())
	return &c
}

func completionOf(object string, r run.Record) openai.Completion {
	return openai.NewCompletion(object, r.ID, r.Model, r.Created)
}

// Fail ends a stream that has begun. A client that is not there any more to
// read it makes no difference.
func (s *chunkWriter) Fail(x *web.RequestInfo, e *web.Error) error {
	x.Failed(e)
	if err := s.send(); err != nil {
		return err
	}
	if err := s.Failure(e); err != nil {
		return err
	}
	return s.Done()
}
