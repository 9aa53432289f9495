package answer

import (
	"strings"
	"unicode/utf8"

	"penstock/backend"
	"penstock/server/dialect"
)

const (
	// pieceMax bounds the text of one frame, in bytes as JSON: with what is around it a
	// line stays below the 32 KiB that every known line reader takes.
	pieceMax = 29 << 10
	// shareMax is how much of it neighbours may make together: each stream holds
	// that, and the frame is small beside it.
	shareMax = 4 << 10
)

// deltas puts the texts of neighbouring events together, and cuts long ones, on their way
// to a dialect.
type deltas struct {
	to   dialect.Stream
	kind backend.Kind // of what is held; 0 is nothing
	text strings.Builder
	size int // of text as JSON
	// numbers of the first and the last event in it
	first, last uint64
}

// add takes the text of one event. Small ones wait for their neighbours, until send; a
// large one is cut. What was seen before is put together with nothing: it is not written.
func (d *deltas) add(kind backend.Kind, text string, seq uint64) error {
	fits, size := jsonSize(text, pieceMax)
	if d.kind != kind || d.size+size > shareMax {
		if err := d.send(); err != nil {
			return err
		}
	}
	place := dialect.Place{Seq: seq}
	for fits < len(text) {
		if err := d.to.Step(dialect.Step{Place: place, First: seq, Kind: kind, Text: text[:fits]}); err != nil {
			return err
		}
		text = text[fits:]
		fits, size = jsonSize(text, pieceMax)
		place.Piece++
	}
	place.Last = true
	// The rest of a long one has a number of its own.
	if size > shareMax || place.Piece > 0 || d.to.Seen(place) {
		return d.to.Step(dialect.Step{Place: place, First: seq, Kind: kind, Text: text})
	}
	if d.kind == 0 {
		d.first = seq
	}
	d.kind, d.last = kind, seq
	d.size += size
	d.text.WriteString(text)
	return nil
}

// send gives on what waits for its neighbours.
func (d *deltas) send() error {
	if d.kind == 0 {
		return nil
	}
	step := dialect.Step{Place: dialect.Place{Seq: d.last, Last: true}, First: d.first, Kind: d.kind, Text: d.text.String()}
	d.kind, d.size, d.text = 0, 0, strings.Builder{}
	return d.to.Step(step)
}

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
