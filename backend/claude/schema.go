package claude

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// takesSchema is true for what both the CLI and the Messages API take as a tool's input: an
// object, in the keywords of draft 7. The CLI drops a schema with any other (measured).
func takesSchema(raw json.RawMessage) bool {
	var root struct {
		Dialect string          `json:"$schema"`
		Type    string          `json:"type"`
		AllOf   json.RawMessage `json:"allOf"`
		AnyOf   json.RawMessage `json:"anyOf"`
		OneOf   json.RawMessage `json:"oneOf"`
	}
	if json.Unmarshal(raw, &root) != nil || root.Type != "object" || root.AllOf != nil || root.AnyOf != nil || root.OneOf != nil {
		return false
	}
	return readAsDraft7(root.Dialect) && knownKeywords(withoutDialect(raw))
}

// readAsDraft7 tells a dialect in which the keywords of draft 7 mean what they mean there.
func readAsDraft7(dialect string) bool {
	return dialect == "" || slices.ContainsFunc([]string{"/draft-06/", "/draft-07/", "/2019-09/", "/2020-12/"}, func(name string) bool {
		return strings.Contains(dialect, name)
	})
}

// withoutDialect drops "$schema": the CLI takes none but draft 7's.
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
		"type", "const", "enum", "format", "contentEncoding", "contentMediaType",
		"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
		"minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "required":
		return true
	case "$ref":
		return strings.HasPrefix(string(value), `"#`)
	case "pattern":
		var pattern string
		return json.Unmarshal(value, &pattern) == nil && plainPattern(pattern)
	case "items", "additionalItems", "contains", "additionalProperties", "propertyNames", "not", "if", "then", "else", "allOf", "anyOf", "oneOf":
		return knownKeywords(value)
	case "properties", "patternProperties", "dependencies", "definitions", "$defs":
		var named map[string]json.RawMessage
		if json.Unmarshal(value, &named) != nil {
			return false
		}
		for name, schema := range named {
			if keyword == "patternProperties" && !plainPattern(name) || !knownKeywords(schema) {
				return false
			}
		}
		return true
	}
	return false
}

// Parts of a pattern that RE2 takes, and JavaScript in its "u" mode too, which the CLI
// compiles them with: an escape, a category, a counted repetition, a group, a set.
var patternPart = regexp.MustCompile(`^(?:` +
	`\\[dDsSwWbBfnrtv.\\/()\[\]{}*+?^$|]|\\x[0-9A-Fa-f]{2}|\\[pP]\{[A-Z][a-z]?\}` +
	`|\{[0-9]+(?:,[0-9]*)?\}` +
	`|\((?:\?:)?` +
	`|\[\^?-?(?:\\[dDsSwWfnrtv.\\/()\[\]{}*+?^$|-]|[^\\\[\]-]-[^\\\[\]-]|[^\\\[\]-])+-?\]` +
	`|[^\\{}()\[\]]|\)` +
	`)`)

// plainPattern is true for a pattern that both take.
func plainPattern(pattern string) bool {
	place := false // the part before stands for a place, not for text
	for pattern != "" {
		part := patternPart.FindString(pattern)
		switch {
		case part == "", part == "(" && strings.HasPrefix(pattern, "(?"), place && strings.Contains("*+?{", part[:1]):
			return false
		}
		place = slices.Contains([]string{"^", "$", `\b`, `\B`}, part)
		pattern = pattern[len(part):]
	}
	return true
}
