package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// streamCheck holds each event of a stream against a schema, and the stream to its end: no
// stream just stops. Where the document has several streams, it is one that all its
// events fit.
//
// The schema of a stream has, beside what is said of it in words, either
//
//	x-event-data    the schema of the data of all events, which have no name, and
//	x-event-end     the data of the one after which nothing comes
//
// or
//
//	x-events        a schema for each event by its name, which the data has as its type,
//	x-event-last    the names of those after which nothing comes, and
//	x-event-number  a member of all of them that only grows, where there is one
//
// and x-event-line where a line has fewer bytes than that.
type streamCheck struct {
	may    []*eventStream // what it may be, as far as it has come
	held   []byte         // of a line that is not whole yet
	event  string         // the name of the event whose data comes next
	events int
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
	name, isName := bytes.CutPrefix(line, []byte("event: "))
	switch {
	case c.event != "" && !isData:
		return fmt.Errorf("event %s: no data follows it: %.200q", c.event, line)
	case isName:
		c.event = string(name)
		return nil
	case len(line) == 0, line[0] == ':', bytes.HasPrefix(line, []byte("id: ")):
		return nil
	case !isData:
		return fmt.Errorf("a line that is neither comment, event, data nor id: %.200q", line)
	}
	event := c.event
	c.event = ""
	c.events++
	var errs []error
	var left []*eventStream
	for _, s := range c.may {
		if err := s.take(event, data); err != nil {
			errs = append(errs, err)
		} else {
			left = append(left, s)
		}
	}
	if c.may = left; left == nil {
		return fmt.Errorf("its event %d is of no stream that it can be: %w", c.events, errors.Join(errs...))
	}
	return nil
}

func (c *streamCheck) end() error {
	if len(c.held) > 0 || c.event != "" || !slices.ContainsFunc(c.may, func(s *eventStream) bool { return s.done }) {
		return fmt.Errorf("the stream ended after %d events without its end", c.events)
	}
	return nil
}

// eventStream is one of a document's streams, as far as it has been seen.
type eventStream struct {
	document *Document
	schema   string // JSON pointer
	raw      map[string]any
	number   float64 // of the last event that has one
	done     bool
}

// streams are those of a schema, which may be one of several.
func (d *Document) streams(schema string) (all []*eventStream) {
	raw, at := d.look(schema)
	choices, _ := raw["oneOf"].([]any)
	for _, one := range choices {
		if ref, _ := one.(map[string]any)["$ref"].(string); ref != "" {
			all = append(all, d.streams(ref[1:])...)
		}
	}
	if choices == nil {
		all = append(all, &eventStream{document: d, schema: at, raw: raw, number: -1})
	}
	return all
}

func (s *eventStream) take(event string, data []byte) error {
	named, _ := s.raw["x-events"].(map[string]any)
	most := math.Inf(1)
	if n, ok := s.raw["x-event-line"].(json.Number); ok {
		most, _ = n.Float64() // of a document that is valid
	}
	switch {
	case float64(len("data: ")+len(data)) >= most:
		return fmt.Errorf("%s: a line of %d bytes of data", s.schema, len(data))
	case s.done:
		return fmt.Errorf("%s: something comes after its end: %.200q", s.schema, data)
	case event == "" && named == nil:
		if string(data) == s.raw["x-event-end"] {
			s.done = true
			return nil
		}
		return s.document.holdJSON(reply, s.schema+"/x-event-data", data)
	case named[event] == nil:
		return fmt.Errorf("%s: has no event %q", s.schema, event)
	}
	if err := s.document.holdJSON(reply, s.schema+"/x-events/"+escape(event), data); err != nil {
		return fmt.Errorf("event %s: %w", event, err)
	}
	last, _ := s.raw["x-event-last"].([]any)
	s.done = slices.Contains(last, any(event))
	return s.check(event, data)
}

// check holds the members of an event against its name and the events before.
func (s *eventStream) check(event string, data []byte) error {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		return err
	}
	members, _ := v.(map[string]any)
	if members["type"] != event {
		return fmt.Errorf("event %s has the type %v", event, members["type"])
	}
	name, ok := s.raw["x-event-number"].(string)
	if !ok {
		return nil
	}
	text, _ := members[name].(interface{ Float64() (float64, error) })
	if text == nil {
		return fmt.Errorf("event %s has no %s", event, name)
	}
	n, err := text.Float64()
	if err != nil || n <= s.number {
		return fmt.Errorf("event %s: %s %v after %v", event, name, n, s.number)
	}
	s.number = n
	return nil
}
