// Package structured holds answers to what was asked of their shape: a JSON Schema
// (backend.Request.Schema) or any JSON object (AnyObject). It goes around any backend; a
// request for free text passes through it untouched.
//
//	structured.go   the backend: what the CLI is told, where it has no schemas of its own
//	machine.go      the machine: what goes out at once, what is held, how a turn ends
//
// Nothing of an answer goes out before all of it is valid, for what was streamed can't be
// taken back; thinking, tools, notices and usage do. An answer that isn't valid is asked for
// once more where the CLI can be told (backend.Reprompter), and then fails as invalid_output.
package structured

import (
	"bytes"
	"encoding/json"
	"fmt"

	"penstock/backend"
	"penstock/backend/schema"
)

// New is b, with answers held to what was asked for.
func New(b backend.Backend) backend.Backend { return holder{b} }

type holder struct{ backend.Backend }

// wants tells a request for anything but free text.
func wants(r backend.Request) bool { return len(r.Schema) > 0 || r.AnyObject }

// Command tells the CLI by its prompt what it has no other way to be told. A schema is
// refused here where it can't be held to.
func (b holder) Command(r backend.Request) (backend.Command, error) {
	if len(r.Schema) > 0 {
		if _, err := schema.Compile(r.Schema); err != nil {
			return backend.Command{}, fmt.Errorf("schema: %w", err)
		}
	}
	return b.Backend.Command(b.told(r))
}

// Machine is the CLI's own for free text.
func (b holder) Machine(r backend.Request) backend.Machine {
	inner := b.Backend.Machine(b.told(r))
	if !wants(r) {
		return inner
	}
	return &machine{inner: inner, goal: goal{raw: r.Schema}, plainExit: b.Features().PlainExit}
}

// told is r as the CLI's own backend has it: one that can't hold answers to a schema, or not to
// this one, sees it only in the prompt.
func (b holder) told(r backend.Request) backend.Request {
	switch {
	case len(r.Schema) > 0 && !native(b.Features(), r.Schema):
		r.Prompt += "\n\nAnswer with JSON only: one JSON value that is valid by the JSON Schema below. " +
			"No words before or after it, no code fence.\n\nJSON Schema:\n" + compact(r.Schema)
		r.Schema = nil
	case len(r.Schema) == 0 && r.AnyObject:
		r.Prompt += "\n\nAnswer with JSON only: one JSON object. No words before or after it, no code fence."
	}
	return r
}

func native(f backend.Features, raw json.RawMessage) bool {
	return f.JSONSchema && (f.TakesSchema == nil || f.TakesSchema(raw))
}

// compact is JSON without its white space.
func compact(raw json.RawMessage) string {
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil {
		return string(raw)
	}
	return out.String()
}

// goal is what an answer has to be.
type goal struct {
	raw    json.RawMessage // "" is any object
	schema *schema.Schema  // of raw, once an answer was there to be judged
}

// judge gives the JSON of an answer that is what was asked for.
func (g *goal) judge(answer string) (schema.Found, error) {
	if len(g.raw) > 0 && g.schema == nil {
		compiled, err := schema.Compile(g.raw)
		if err != nil {
			return schema.Found{}, fmt.Errorf("can't be held to its schema: %w", err)
		}
		g.schema = compiled
	}
	found, err := schema.Find(answer)
	switch {
	case err != nil:
		return found, err
	case g.schema == nil:
		return found, schema.IsObject(found.Value)
	}
	return found, g.schema.Check(found.Value)
}

// name is what was asked for, in words.
func (g *goal) name() string {
	switch {
	case len(g.raw) == 0:
		return "a JSON object"
	case g.schema != nil && g.schema.Title != "":
		return fmt.Sprintf("JSON that is valid by the schema %q", g.schema.Title)
	}
	return "JSON that is valid by the schema"
}
