package codex

import (
	"encoding/json"
	"slices"
)

// isStrict tells a schema that the provider's strict structured outputs take. codex (0.169.0)
// hands any schema on as it is, with "strict": true, and OpenAI refuses the whole
// request for one that isn't: an object has to name all its members, require each, and
// allow no other; the keywords are few. One that isn't strict can't be made so without
// changing what it takes, so it is told in the prompt and validated here.
func isStrict(schema json.RawMessage) bool {
	var root node
	if json.Unmarshal(schema, &root) != nil || !root.is("object") || root["anyOf"] != nil {
		return false
	}
	members := 0
	return root.strict(0, &members)
}

// What every version of the strict mode has taken.
const (
	depthMax   = 5
	membersMax = 100
)

// node is one schema in a schema.
type node map[string]json.RawMessage

// formats are the values of "format" that are taken.
var formats = []string{"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}

func (n node) strict(depth int, members *int) bool {
	if depth > depthMax || len(n) == 0 {
		return false
	}
	if n["$ref"] != nil {
		return len(n) == 1
	}
	for keyword, value := range n {
		switch keyword {
		case "type", "required", "enum", "const", "title", "description", "$schema", "additionalProperties",
			"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems":
		case "format":
			var format string
			if json.Unmarshal(value, &format) != nil || !slices.Contains(formats, format) {
				return false
			}
		case "properties":
			if !n.is("object") || !strictMap(value, depth+1, members) {
				return false
			}
		case "$defs", "definitions":
			if depth > 0 || !strictMap(value, 1, members) {
				return false
			}
		case "items":
			if !strictNode(value, depth+1, members) {
				return false
			}
		case "anyOf":
			var either []json.RawMessage
			if json.Unmarshal(value, &either) != nil || len(either) == 0 {
				return false
			}
			for _, one := range either {
				if !strictNode(one, depth+1, members) {
					return false
				}
			}
		default:
			return false
		}
	}
	return (n["type"] != nil || n["anyOf"] != nil) && (!n.is("object") || n.isClosed()) && (!n.is("array") || n["items"] != nil)
}

func strictNode(raw json.RawMessage, depth int, members *int) bool {
	var n node
	return json.Unmarshal(raw, &n) == nil && n.strict(depth, members)
}

func strictMap(raw json.RawMessage, depth int, members *int) bool {
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return false
	}
	for _, one := range all {
		if *members++; *members > membersMax || !strictNode(one, depth, members) {
			return false
		}
	}
	return true
}

// is tells whether a type is among those of the schema.
func (n node) is(kind string) bool {
	var one string
	if json.Unmarshal(n["type"], &one) == nil {
		return one == kind
	}
	var several []string
	return json.Unmarshal(n["type"], &several) == nil && slices.Contains(several, kind)
}

// isClosed: an object allows the members that it names, and requires each of them.
func (n node) isClosed() bool {
	var properties map[string]json.RawMessage
	var required []string
	if string(n["additionalProperties"]) != "false" || json.Unmarshal(n["properties"], &properties) != nil || json.Unmarshal(n["required"], &required) != nil {
		return false
	}
	for name := range properties {
		if !slices.Contains(required, name) {
			return false
		}
	}
	return true
}
