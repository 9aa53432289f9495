package schema

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// What is told of one check, in bytes but for told.
const (
	toldMax    = 8 // problems
	problemMax = 600
	valueMax   = 100
	nameMax    = 60
	titleMax   = 100
	pathMax    = 300
	listMax    = 20 // values of an enum, names of properties
)

// problem is one thing that is wrong.
type problem struct{ path, words string }

// explain gives the problems of a check, those of the first places first: the same ones each
// time, whatever the order in which the check goes over an object.
func explain(e *jsonschema.ValidationError) []problem {
	own := func(words string) []problem {
		return []problem{{join("", e.InstanceLocation...), clip(words, problemMax)}}
	}
	switch k := e.ErrorKind.(type) {
	case *kind.AnyOf:
		return own("fits none of anyOf: " + branches(e))
	case *kind.OneOf:
		if len(k.Subschemas) == 0 {
			return own("fits none of oneOf: " + branches(e))
		}
	case *kind.Contains, *kind.MinContains:
		return own(words(e.ErrorKind))
	case *kind.PropertyNames:
		// Its location is of another property by now.
		return []problem{{"", fmt.Sprintf("the property name %s doesn't fit: %s", quote(k.Property), summary(below(e)))}}
	}
	if len(e.Causes) > 0 {
		return below(e)
	}
	return own(words(e.ErrorKind))
}

// below are the problems of all causes.
func below(e *jsonschema.ValidationError) []problem {
	var all []problem
	for _, cause := range e.Causes {
		if all = append(all, explain(cause)...); len(all) > 8*toldMax {
			all = first(all)
		}
	}
	return first(all)
}

func first(all []problem) []problem {
	slices.SortFunc(all, func(a, b problem) int {
		return cmp.Or(cmp.Compare(len(a.path), len(b.path)), strings.Compare(a.path, b.path), strings.Compare(a.words, b.words))
	})
	all = slices.Compact(all)
	return all[:min(len(all), toldMax+1)]
}

// branches says why each alternative doesn't fit, those whose type does first.
func branches(e *jsonschema.ValidationError) string {
	here := join("", e.InstanceLocation...)
	var near, far []string
	for i, cause := range e.Causes[:min(len(e.Causes), listMax)] {
		problems, wrong := explain(cause), false
		for i, p := range problems {
			if p.path == here {
				problems[i].path = ""
				wrong = wrong || strings.HasPrefix(p.words, wrongType)
			}
		}
		text := fmt.Sprintf("(%d) %s", i+1, summary(problems))
		if wrong {
			far = append(far, text)
		} else {
			near = append(near, text)
		}
	}
	return strings.Join(append(near, far...), ", ")
}

// summary is what is wrong in one text.
func summary(all []problem) string {
	var told []string
	for i, p := range all {
		if i == toldMax {
			told = append(told, "and more")
			break
		}
		if p.path == "" {
			told = append(told, p.words)
		} else {
			told = append(told, p.path+": "+p.words)
		}
	}
	return strings.Join(told, "; ")
}

const wrongType = "has to be of type "

// words is what one keyword wanted. Values of the answer are not repeated: its model and its
// client know them, and a log needs not.
func words(k jsonschema.ErrorKind) string {
	switch k := k.(type) {
	case nil:
		return "doesn't fit"
	case *kind.Type:
		return wrongType + strings.Join(k.Want, " or ") + ", is " + k.Got
	case *kind.Enum:
		return "has to be one of " + list(k.Want)
	case *kind.Const:
		return "has to be " + quote(k.Want)
	case *kind.Format:
		if k.Want == patternFormat {
			return "has to be a regular expression: " + k.Err.Error()
		}
		return "has to be of format " + k.Want
	case *kind.Pattern:
		return "has to match the pattern " + quote(k.Want)
	case *kind.FalseSchema:
		return "may not be there"
	case *kind.Not:
		return "fits what not excludes"
	case *kind.OneOf:
		return fmt.Sprintf("fits more than one of oneOf: (%d) and (%d)", k.Subschemas[0]+1, k.Subschemas[1]+1)
	case *kind.Required:
		return "lacks " + names(k.Missing)
	case *kind.Dependency:
		return "lacks " + names(k.Missing) + ", which " + quote(k.Prop) + " asks for"
	case *kind.DependentRequired:
		return "lacks " + names(k.Missing) + ", which " + quote(k.Prop) + " asks for"
	case *kind.AdditionalProperties:
		return "may not have " + names(k.Properties)
	case *kind.AdditionalItems:
		return fmt.Sprintf("has %d items too many", k.Count)
	case *kind.UniqueItems:
		return fmt.Sprintf("has equal items: [%d] and [%d]", k.Duplicates[0], k.Duplicates[1])
	case *kind.Contains:
		return "has no item that fits contains"
	case *kind.MinContains:
		return fmt.Sprintf("has %d items that fit contains, has to have at least %d", len(k.Got), k.Want)
	case *kind.MaxContains:
		return fmt.Sprintf("has %d items that fit contains, may have at most %d", len(k.Got), k.Want)
	}
	return bounds(k)
}

// bounds is words for what has a least or a most.
func bounds(k jsonschema.ErrorKind) string {
	counted := func(what string, got int, bound string, want int) string {
		return fmt.Sprintf("has %d %s, has to have at %s %d", got, what, bound, want)
	}
	switch k := k.(type) {
	case *kind.MinLength:
		return counted("characters", k.Got, "least", k.Want)
	case *kind.MaxLength:
		return counted("characters", k.Got, "most", k.Want)
	case *kind.MinItems:
		return counted("items", k.Got, "least", k.Want)
	case *kind.MaxItems:
		return counted("items", k.Got, "most", k.Want)
	case *kind.MinProperties:
		return counted("properties", k.Got, "least", k.Want)
	case *kind.MaxProperties:
		return counted("properties", k.Got, "most", k.Want)
	case *kind.Minimum:
		return "has to be at least " + decimal(k.Want)
	case *kind.Maximum:
		return "has to be at most " + decimal(k.Want)
	case *kind.ExclusiveMinimum:
		return "has to be more than " + decimal(k.Want)
	case *kind.ExclusiveMaximum:
		return "has to be less than " + decimal(k.Want)
	case *kind.MultipleOf:
		return "has to be a multiple of " + decimal(k.Want)
	}
	return "doesn't keep to " + strings.Join(k.KeywordPath(), " ")
}

func decimal(r *big.Rat) string { return new(big.Float).SetRat(r).Text('g', 15) }

// quote is a value of a schema as JSON, bounded.
func quote(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "a value"
	}
	return clip(string(text), valueMax)
}

func list(values []any) string {
	var quoted []string
	for _, v := range values[:min(len(values), listMax)] {
		quoted = append(quoted, quote(v))
	}
	if n := len(values) - listMax; n > 0 {
		quoted = append(quoted, fmt.Sprintf("%d more", n))
	}
	return strings.Join(quoted, ", ")
}

func names(all []string) string {
	var values []any
	for _, name := range slices.Sorted(slices.Values(all)) {
		values = append(values, name)
	}
	return list(values)
}

// nameOf is what a value is.
func nameOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case string:
		return "a string"
	case []any:
		return "an array"
	}
	return "an object"
}

// join makes a path longer: dots before names, brackets around numbers and what no name is.
func join(path string, tokens ...string) string {
	var out strings.Builder
	out.WriteString(path)
	for _, token := range tokens {
		switch {
		case token != "" && strings.Trim(token, "0123456789") == "":
			out.WriteString("[" + clip(token, nameMax) + "]")
		case !isName(token):
			out.WriteString("[" + clip(fmt.Sprintf("%q", token), nameMax) + "]")
		case out.Len() > 0:
			out.WriteString("." + clip(token, nameMax))
		default:
			out.WriteString(clip(token, nameMax))
		}
	}
	return clip(out.String(), pathMax)
}

func isName(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return r != '_' && r != '$' && r != '-' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}) < 0
}

// pathOf is a location of the library's as a path.
func pathOf(location string) string {
	_, pointer, _ := strings.Cut(location, "#/")
	if pointer == "" {
		return ""
	}
	tokens := strings.Split(pointer, "/")
	for i, token := range tokens {
		if plain, err := url.PathUnescape(token); err == nil {
			token = plain
		}
		tokens[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(token)
	}
	return join("", tokens...)
}

// clip bounds a text, at a code point.
func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	s = s[:most-len("…")]
	for len(s) > 0 && !utf8.RuneStart(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	if r, n := utf8.DecodeLastRuneInString(s); r == utf8.RuneError && n == 1 {
		s = s[:len(s)-1]
	}
	return s + "…"
}
