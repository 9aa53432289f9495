package schema

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// What a schema may be. Within it the slowest to compile that was found takes 0.1 s.
const (
	rawMax       = 64 << 10
	schemaDepth  = 64
	schemaValues = 10_000
	partsMax     = 3000      // objects and booleans, any of which may be a schema
	targetsMax   = 300       // different ones of $ref
	strayMax     = 100       // of them, outside of where schemas are
	enumMax      = 2000      // values, of all enums
	pathsMax     = 512 << 10 // bytes of the paths of all parts
	countMax     = 1 << 53   // of minLength and its like: beyond, arithmetic goes wrong
	selfMax      = 64        // schemas in each other that one value is held to

	patternMax      = 512    // bytes
	patternSizeMax  = 2000   // instructions
	patternsSizeMax = 20_000 // of all
)

var schemaLimits = limits{schemaDepth, schemaValues}

// shape is what is counted of a schema before it is compiled.
type shape struct {
	parts, enums, paths int
	targets             map[string]string // of $ref: where the first is
	strays              int
}

// checkShape bounds what a schema may cost to be compiled, and refuses by place what
// compiling would refuse without.
func checkShape(doc any) (*shape, error) {
	s := &shape{targets: map[string]string{}}
	return s, s.walk(doc, nil, 0)
}

// place is the path of the $ref to a location of the library's; "" is not known.
func (s *shape) place(location string) string {
	document, _, _ := strings.Cut(location, "#")
	for _, target := range slices.Sorted(maps.Keys(s.targets)) {
		other, _, _ := strings.Cut(target, "#")
		if target != "" && strings.HasSuffix(location, target) || other != "" && strings.HasSuffix(document, other) {
			return s.targets[target]
		}
	}
	return ""
}

func (s *shape) walk(v any, path []string, length int) error {
	switch v := v.(type) {
	case bool:
		s.parts++
		s.paths += length
	case []any:
		for i, item := range v {
			token := strconv.Itoa(i)
			if err := s.walk(item, append(path, token), length+1+len(token)); err != nil {
				return err
			}
		}
	case map[string]any:
		s.parts++
		s.paths += length
		if err := s.keywords(v, path); err != nil {
			return err
		}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if err := s.walk(v[key], append(path, key), length+1+len(key)); err != nil {
				return err
			}
		}
	}
	return s.within(path)
}

func (s *shape) within(path []string) error {
	for _, bound := range []struct {
		what   string
		is, of int
	}{
		{"objects and booleans", s.parts, partsMax},
		{"bytes in the paths of its parts (shorten its names, or nest less)", s.paths, pathsMax},
		{"values in its enums", s.enums, enumMax},
		{"different $ref", len(s.targets), targetsMax},
		{"different $ref to other places than $defs", s.strays, strayMax},
	} {
		if bound.is > bound.of {
			return &Error{join("", path...), fmt.Sprintf("here the schema passes %d %s, the most that is taken", bound.of, bound.what)}
		}
	}
	return nil
}

// keywords looks at an object as if it were a schema: one that is none has strings and
// numbers of such names in data of its own only.
func (s *shape) keywords(o map[string]any, path []string) error {
	if values, ok := o["enum"].([]any); ok {
		s.enums += len(values)
	}
	if ref, ok := o["$ref"].(string); ok {
		if _, known := s.targets[ref]; !known {
			s.targets[ref] = join("", append(path, "$ref")...)
			if !slices.ContainsFunc([]string{"#/$defs/", "#/definitions/", "#/properties/"}, func(known string) bool { return strings.HasPrefix(ref, known) }) {
				s.strays++
			}
		}
	}
	if dialect, ok := o["$schema"].(string); ok && !slices.Contains(dialects(), strings.TrimSuffix(dialect, "#")) {
		return &Error{join("", append(path, "$schema")...), fmt.Sprintf("%q is not known: use one of %s", clip(dialect, valueMax), strings.Join(dialects(), ", "))}
	}
	for _, key := range []string{"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains"} {
		n, ok := o[key].(json.Number)
		if f, err := n.Float64(); ok && (err != nil || f > countMax) {
			return &Error{join("", append(path, key)...), fmt.Sprintf("%s: a count of at most %d", n, int64(countMax))}
		}
	}
	for _, key := range []string{"$dynamicRef", "$recursiveRef"} {
		if _, ok := o[key].(string); ok {
			return &Error{join("", append(path, key)...), "is not taken: use $ref"}
		}
	}
	return nil
}

// dialects are what $schema may be.
func dialects() []string {
	return []string{
		"https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2019-09/schema",
		"http://json-schema.org/draft-07/schema", "http://json-schema.org/draft-06/schema", "http://json-schema.org/draft-04/schema",
	}
}

// checkCompiled refuses what would make a check endless, or leave the schema.
func checkCompiled(root *jsonschema.Schema) error {
	g := graph{state: map[*jsonschema.Schema]int{}, height: map[*jsonschema.Schema]int{}}
	for _, s := range reachable(root) {
		if err := g.check(s); err != nil {
			return err
		}
	}
	return nil
}

// reachable are all schemas of root, in the order of their places.
func reachable(root *jsonschema.Schema) []*jsonschema.Schema {
	seen := map[*jsonschema.Schema]bool{root: true}
	all := []*jsonschema.Schema{root}
	for i := 0; i < len(all); i++ {
		for _, of := range []iter.Seq[*jsonschema.Schema]{selves(all[i]), children(all[i])} {
			for next := range of {
				if !seen[next] {
					seen[next] = true
					all = append(all, next)
				}
			}
		}
	}
	slices.SortFunc(all, func(a, b *jsonschema.Schema) int { return strings.Compare(a.Location, b.Location) })
	return all
}

// graph is which schema leads to which for the same value.
type graph struct {
	state  map[*jsonschema.Schema]int // 1 is on the way, 2 done
	height map[*jsonschema.Schema]int // of what it leads to
}

func (g *graph) check(s *jsonschema.Schema) error {
	if !strings.HasPrefix(s.Location, base+"#") {
		return elsewhere("", s.Location)
	}
	if s.DynamicRef != nil || s.RecursiveRef != nil {
		return &Error{placeOf(s), "$dynamicRef and $recursiveRef are not taken: use $ref"}
	}
	if s.Format != nil && s.Format.Name == patternFormat {
		s.Format = &jsonschema.Format{Name: patternFormat, Validate: isPattern}
	}
	return g.climb(s, 0)
}

func (g *graph) climb(s *jsonschema.Schema, depth int) error {
	switch {
	case g.state[s] == 2:
		return nil
	case g.state[s] == 1:
		return &Error{placeOf(s), "refers to itself for the same value, so that no value can be held to it"}
	case depth > selfMax:
		return tooDeep(s)
	}
	g.state[s] = 1
	for next := range selves(s) {
		if err := g.climb(next, depth+1); err != nil {
			return err
		}
		g.height[s] = max(g.height[s], g.height[next]+1)
	}
	if g.height[s] > selfMax {
		return tooDeep(s)
	}
	g.state[s] = 2
	return nil
}

func tooDeep(s *jsonschema.Schema) error {
	return &Error{placeOf(s), fmt.Sprintf("more than %d schemas in each other for one value: nest allOf, anyOf, oneOf, not, if and $ref less", selfMax)}
}

func placeOf(s *jsonschema.Schema) string { return pathOf(s.Location) }

// pattern is a regular expression that knows its size.
type pattern struct {
	*regexp.Regexp
	size int
}

// patternBudget bounds the patterns of one schema, each of which is compiled twice.
type patternBudget struct{ spent int }

func (b *patternBudget) compile(text string) (jsonschema.Regexp, error) {
	p, err := compilePattern(text)
	if err != nil {
		return nil, err
	}
	if b.spent += p.size; b.spent > 2*patternsSizeMax {
		return nil, &patternError{fmt.Sprintf("with it the schema's patterns pass %d instructions, the most that is taken: count less ({n,m})", patternsSizeMax)}
	}
	return p, nil
}

type patternError struct{ problem string }

func (e *patternError) Error() string { return e.problem }

func compilePattern(text string) (*pattern, error) {
	if len(text) > patternMax {
		return nil, &patternError{fmt.Sprintf("a pattern of %d bytes, the most are %d", len(text), patternMax)}
	}
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, &patternError{fmt.Sprintf("%v: the syntax is RE2's, without lookaround and backreferences", err)}
	}
	size := instructions(tree)
	if size > patternSizeMax {
		return nil, &patternError{fmt.Sprintf("a pattern of %d instructions, the most are %d: count less ({n,m})", size, patternSizeMax)}
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, &patternError{err.Error()}
	}
	return &pattern{re, size}, nil
}

// instructions is about how many a pattern is compiled to; what is counted is repeated.
func instructions(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral || re.Op == syntax.OpCharClass {
		n = max(1, len(re.Rune)/2)
	}
	for _, sub := range re.Sub {
		n += instructions(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Max, re.Min+1, 1)
	}
	return n
}

// patternFormat is the format of a pattern, isPattern its check.
const patternFormat = "regex"

func isPattern(v any) error {
	s, ok := v.(string)
	if !ok {
		return nil
	}
	_, err := compilePattern(s)
	return err
}
