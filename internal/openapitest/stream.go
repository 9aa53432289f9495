package openapitest

import (
	"bytes"
	"errors"
	"fmt"
)

// lineMax is what the document promises of a line.
const lineMax = 32 << 10

// streamCheck holds each event of a stream against a schema, and the stream to
// its end: no stream just stops.
type streamCheck struct {
	document *Document
	schema   string
	held     []byte // of a line that is not whole yet
	done     bool
}

func (c *streamCheck) add(piece []byte) error {
	for {
		line, rest, whole := bytes.Cut(piece, []byte("\n"))
		c.held = append(c.held, line...) // looked through once, however long the line
		if !whole {
			return nil
		}
		if err := c.line(c.held); err != nil {
			return err
		}
		c.held, piece = c.held[:0], rest
	}
}

func (c *streamCheck) line(line []byte) error {
	data, isData := bytes.CutPrefix(line, []byte("data: "))
	switch {
	case len(line) >= lineMax:
		return fmt.Errorf("a line of %d bytes", len(line))
	case len(line) == 0, line[0] == ':', bytes.HasPrefix(line, []byte("id: ")):
		return nil
	case !isData:
		return fmt.Errorf("a line that is neither comment, id nor data: %.200q", line)
	case c.done:
		return fmt.Errorf("data after [DONE]: %.200q", data)
	case string(data) == "[DONE]":
		c.done = true
		return nil
	}
	return c.document.holdJSON(reply, c.schema, data)
}

func (c *streamCheck) end() error {
	if !c.done || len(c.held) > 0 {
		return errors.New("the stream ended without [DONE]")
	}
	return nil
}
