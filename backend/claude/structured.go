package claude

import (
	"encoding/json"
	"slices"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// structuredTool is the tool that the CLI gives the model for an answer that keeps to a
// schema. Its input is held to the schema, and is the answer.
const structuredTool = "StructuredOutput"

// schemaRefused is what a missing tool says: the CLI drops a schema that it can't compile
// without a word (2.1.330).
func schemaRefused() *backend.Failure {
	return &backend.Failure{Code: "invalid_output",
		Message: "claude does not take this schema, and says nothing of why (hint: its patterns must be JavaScript's)"}
}

// structured is what events of a turn come to whose answer keeps to a schema: thinking and
// tools, and at the end the JSON and no other text.
func (c *conversation) structured(events []backend.Event) []backend.Event {
	kept := events[:0]
	for _, e := range events {
		switch {
		case e.Kind == backend.Text, e.Kind == backend.Void, e.Kind == backend.ToolUse && e.Tool.Name == structuredTool:
		case e.Kind == backend.Done:
			kept = append(kept, c.verdict(e)...)
		default:
			kept = append(kept, e)
		}
	}
	return kept
}

// verdict is the end of a turn that the CLI calls a good one. It does so too where the
// model was asked a second time for an answer in the form and gave none.
func (c *conversation) verdict(done backend.Event) []backend.Event {
	switch {
	case len(c.output) > 0:
		return []backend.Event{{Kind: backend.Text, Text: parse.Clean(c.output)}, {Kind: backend.Done, Finish: "stop"}}
	case done.Finish != "stop":
		return []backend.Event{done}
	}
	return c.fail(&backend.Failure{Code: "invalid_output",
		Message: parse.Bound("the model gave no answer that keeps to the schema; its last words: "+c.words, parse.FailureMax)})
}

// takesSchema is true for what both the CLI and the Messages API take as a tool's input: an
// object, in the keywords of draft 7. The CLI drops a schema with any other (measured).
func takesSchema(raw json.RawMessage) bool {
	var root struct {
		Type  string          `json:"type"`
		AllOf json.RawMessage `json:"allOf"`
		AnyOf json.RawMessage `json:"anyOf"`
		OneOf json.RawMessage `json:"oneOf"`
	}
	if json.Unmarshal(raw, &root) != nil || root.Type != "object" || root.AllOf != nil || root.AnyOf != nil || root.OneOf != nil {
		return false
	}
	return knownKeywords(withoutDialect(raw))
}

// withoutDialect drops "$schema": the CLI takes one that names draft 7, or none.
func withoutDialect(raw json.RawMessage) json.RawMessage {
	var root map[string]json.RawMessage
	if json.Unmarshal(raw, &root) != nil || root["$schema"] == nil {
		return raw
	}
	delete(root, "$schema")
	out, err := json.Marshal(root)
	if err != nil {
		return raw
	}
	return out
}

// knownKeywords walks a schema, or a list of them, for keywords of draft 7 alone.
func knownKeywords(raw json.RawMessage) bool {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) == nil {
		return !slices.ContainsFunc(list, func(s json.RawMessage) bool { return !knownKeywords(s) })
	}
	var schema map[string]json.RawMessage
	if json.Unmarshal(raw, &schema) != nil {
		return true // true, false, or the names of a dependency
	}
	for keyword, value := range schema {
		if !knownKeyword(keyword, value) {
			return false
		}
	}
	return true
}

func knownKeyword(keyword string, value json.RawMessage) bool {
	switch keyword {
	case "$id", "$comment", "title", "description", "default", "examples", "readOnly", "writeOnly", "nullable",
		"type", "const", "enum", "format", "pattern", "contentEncoding", "contentMediaType",
		"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
		"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "required":
		return true
	case "$ref":
		return strings.HasPrefix(string(value), `"#`)
	case "items", "additionalItems", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else", "allOf", "anyOf", "oneOf":
		return knownKeywords(value)
	case "properties", "patternProperties", "dependencies", "definitions", "$defs":
		var named map[string]json.RawMessage
		if json.Unmarshal(value, &named) != nil {
			return false
		}
		for _, schema := range named {
			if !knownKeywords(schema) {
				return false
			}
		}
		return true
	}
	return false
}
