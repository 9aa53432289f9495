package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// fromText converts what an environment variable, a flag or a default says:
// lists are separated by commas, a command's words by blanks.
func (f field) fromText(s string, whole int64) (any, *fault) {
	switch f.kind {
	case list:
		return splitList(s), nil
	case words:
		return strings.Fields(s), nil
	case count:
		n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
		if err != nil {
			return nil, faultf("", "%q is not a whole number", s)
		}
		return f.checked(n)
	case truth:
		b, err := strconv.ParseBool(strings.TrimSpace(s))
		if err != nil {
			return nil, faultf("write true or false", "%q is not a truth value", s)
		}
		return b, nil
	}
	return f.fromString(s, whole)
}

// fromString converts the kinds that are strings in every source.
func (f field) fromString(s string, whole int64) (any, *fault) {
	var v any = s
	var err *fault
	switch f.kind {
	case size:
		var n int64
		if strings.TrimSpace(s) != "" {
			n, err = parseSize(s, whole)
		}
		if percent, ok := percentOf(s); ok && err == nil {
			return share{bytes: n, percent: percent}, nil
		}
		v = n
	case span:
		v, err = parseDuration(s)
	case cores:
		v, err = parseCores(s)
	}
	if err != nil {
		return nil, err
	}
	return f.checked(v)
}

// fromTOML converts a decoded TOML value.
func (f field) fromTOML(v any, whole int64) (any, *fault) {
	switch v := v.(type) {
	case string:
		switch f.kind {
		case text, size, span, cores:
			return f.fromString(v, whole)
		case words, list:
			return []string{v}, nil
		}
	case int64:
		switch f.kind {
		case count:
			return f.checked(v)
		case size:
			return f.fromString(strconv.FormatInt(v, 10), whole)
		case span:
			return nil, faultf(durationHint, "%d has no unit", v)
		case cores:
			return nil, faultf(fmt.Sprintf(`write "%d%%" for %d cores`, v*100, v), "%d has no unit", v)
		}
	case bool:
		if f.kind == truth {
			return v, nil
		}
	case []any:
		if f.kind == list || f.kind == words {
			return stringList(v)
		}
	}
	return nil, faultf("", "want %s, not %s", f.kind.describe(), describe(v))
}

func stringList(v []any) (any, *fault) {
	out := make([]string, 0, len(v))
	for i, e := range v {
		s, ok := e.(string)
		if !ok {
			return nil, faultf("", "element %d: want a string, not %s", i+1, describe(e))
		}
		out = append(out, s)
	}
	return out, nil
}

// checked holds what is wrong with a value whatever the others are.
func (f field) checked(v any) (any, *fault) {
	switch v := v.(type) {
	case string:
		if f.oneOf != nil && !slices.Contains(f.oneOf, v) {
			return nil, faultf("one of "+strings.Join(f.oneOf, ", "), "%q is not known", v)
		}
		if strings.ContainsRune(v, 0) {
			return nil, faultf("", "holds a NUL byte")
		}
	case int64:
		if v < 0 {
			return nil, faultf("", "%d is negative", v)
		}
		if f.kind == count && v > 1<<31-1 {
			return nil, faultf("", "%d is too large", v)
		}
	}
	return v, nil
}

func splitList(s string) []string {
	var out []string
	for _, e := range strings.Split(s, ",") {
		if e = strings.TrimSpace(e); e != "" {
			out = append(out, e)
		}
	}
	return out
}

func (k kind) describe() string {
	switch k {
	case list, words:
		return "a list of strings"
	case size:
		return `a size such as "512MiB"`
	case span:
		return `a duration such as "30s"`
	case cores:
		return `a share of processors such as "200%"`
	case count:
		return "a whole number"
	case truth:
		return "true or false"
	}
	return "a string"
}

func describe(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("the string %q", v)
	case int64, float64, bool:
		return fmt.Sprint(v)
	case []any:
		return "a list"
	case map[string]any:
		return "a table"
	}
	return "a date or time"
}
