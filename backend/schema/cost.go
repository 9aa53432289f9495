package schema

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// stepsMax bounds a check. A step is a schema that a value is held to, or as much work
// as that is. The slowest check within it that was found takes a processor 0.2 s, and the
// largest 50 MB until it is over.
const stepsMax = 100_000

const (
	numberSteps = 4  // of exact arithmetic with one number
	textStep    = 64 // bytes that are looked at in one
)

// affordable counts the steps of a check, by making it without its work. Recursion and
// unions in unions multiply, so that small schemas and answers may be beyond all bounds.
func affordable(root *jsonschema.Schema, v any) error {
	m := meter{left: stepsMax}
	m.visit(root, v, 0)
	if m.left < 0 {
		return &Error{"", fmt.Sprintf("can't be held to the schema within %d steps: make the answer smaller, or the schema's unions and recursions plainer", stepsMax)}
	}
	return nil
}

// meter counts down. It takes every branch that a check may take.
type meter struct{ left int }

// visit holds v, at depth, to s.
func (m *meter) visit(s *jsonschema.Schema, v any, depth int) {
	if m.left -= 1 + depth/16; m.left < 0 || s.Bool != nil {
		return
	}
	if s.Types != nil && !typeFits(*s.Types, v) {
		return
	}
	m.compare(s, v)
	for self := range selves(s) {
		m.visit(self, v, depth)
	}
	switch v := v.(type) {
	case map[string]any:
		m.object(s, v, depth+1)
	case []any:
		m.array(s, v, depth+1)
	case string:
		m.left -= len(v) / textStep
		if p, ok := s.Pattern.(*pattern); ok {
			m.match(p, v)
		}
	case json.Number:
		if s.Types != nil || s.Minimum != nil || s.Maximum != nil || s.ExclusiveMinimum != nil || s.ExclusiveMaximum != nil || s.MultipleOf != nil {
			m.left -= numberSteps
		}
	}
}

// compare is const and enum: each value of it is compared in the worst case.
func (m *meter) compare(s *jsonschema.Schema, v any) {
	if s.Const != nil {
		m.left -= weight(*s.Const)
	}
	if s.Enum != nil {
		for _, item := range s.Enum.Values {
			m.left -= weight(item)
		}
		if text, ok := v.(string); ok {
			m.left -= len(text) / textStep
		}
	}
}

func (m *meter) match(p *pattern, text string) { m.left -= 1 + len(text)*p.size/textStep }

func (m *meter) object(s *jsonschema.Schema, o map[string]any, depth int) {
	m.left -= len(s.Required) + len(s.DependentRequired) + len(o)/4
	for _, names := range s.DependentRequired {
		m.left -= len(names)
	}
	for key, item := range o {
		if m.left < 0 {
			return
		}
		of, known := s.Properties[key]
		if known {
			m.visit(of, item, depth)
		}
		for re, of := range s.PatternProperties {
			if p, ok := re.(*pattern); ok {
				m.match(p, key)
			}
			m.visit(of, item, depth)
		}
		if of, ok := s.AdditionalProperties.(*jsonschema.Schema); ok && !known {
			m.visit(of, item, depth)
		}
		if s.UnevaluatedProperties != nil {
			m.visit(s.UnevaluatedProperties, item, depth)
		}
		if s.PropertyNames != nil {
			m.visit(s.PropertyNames, key, depth)
		}
	}
}

func (m *meter) array(s *jsonschema.Schema, a []any, depth int) {
	m.left -= len(a) / 4
	if s.UniqueItems {
		m.unique(a)
	}
	var first []*jsonschema.Schema // of the items at the start, one each
	var rest *jsonschema.Schema
	switch items := s.Items.(type) {
	case []*jsonschema.Schema:
		first = items
		rest, _ = s.AdditionalItems.(*jsonschema.Schema)
	case *jsonschema.Schema:
		rest = items
	}
	if s.PrefixItems != nil {
		first = s.PrefixItems
	}
	if s.Items2020 != nil {
		rest = s.Items2020
	}
	for i, item := range a {
		if m.left < 0 {
			return
		}
		of := rest
		if i < len(first) {
			of = first[i]
		}
		for _, of := range []*jsonschema.Schema{of, s.Contains, s.UnevaluatedItems} {
			if of != nil {
				m.visit(of, item, depth)
			}
		}
	}
}

// unique: plain items are told apart by a hash of them, and a model can write arrays and
// objects that it doesn't tell apart.
func (m *meter) unique(a []any) {
	nested := 0
	for _, item := range a {
		if m.left -= weight(item); m.left < 0 {
			return
		}
		switch item.(type) {
		case map[string]any, []any:
			nested++
		}
	}
	m.left -= nested * nested / 2
}

// weight is how many steps it takes to compare with v.
func weight(v any) int {
	switch v := v.(type) {
	case map[string]any:
		n := 1
		for key, item := range v {
			n += 1 + len(key)/textStep + weight(item)
		}
		return n
	case []any:
		n := 1
		for _, item := range v {
			n += weight(item)
		}
		return n
	case string:
		return 1 + len(v)/textStep
	case json.Number:
		return numberSteps
	}
	return 1
}

// typeFits tells whether a check goes on after type; any number may be an integer.
func typeFits(types jsonschema.Types, v any) bool {
	var is jsonschema.Types
	switch v.(type) {
	case nil:
		is.Add("null")
	case bool:
		is.Add("boolean")
	case json.Number:
		is.Add("number")
		is.Add("integer")
	case string:
		is.Add("string")
	case []any:
		is.Add("array")
	case map[string]any:
		is.Add("object")
	}
	return types.IsEmpty() || types&is != 0
}

// selves are the schemas that a value of s is held to as a whole, too.
func selves(s *jsonschema.Schema) iter.Seq[*jsonschema.Schema] {
	return func(yield func(*jsonschema.Schema) bool) {
		for _, one := range [...]*jsonschema.Schema{s.Ref, s.Not, s.If, s.Then, s.Else} {
			if one != nil && !yield(one) {
				return
			}
		}
		for _, all := range [...][]*jsonschema.Schema{s.AllOf, s.AnyOf, s.OneOf} {
			for _, one := range all {
				if !yield(one) {
					return
				}
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.DependentSchemas)) {
			if !yield(s.DependentSchemas[name]) {
				return
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.Dependencies)) {
			if one, ok := s.Dependencies[name].(*jsonschema.Schema); ok && !yield(one) {
				return
			}
		}
	}
}

// children are the schemas that what is in a value of s is held to.
func children(s *jsonschema.Schema) iter.Seq[*jsonschema.Schema] {
	return func(yield func(*jsonschema.Schema) bool) {
		all := slices.Concat([]*jsonschema.Schema{s.PropertyNames, s.Contains, s.Items2020, s.UnevaluatedItems, s.UnevaluatedProperties},
			s.PrefixItems, slices.Collect(maps.Values(s.Properties)), slices.Collect(maps.Values(s.PatternProperties)))
		for _, one := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
			switch one := one.(type) {
			case *jsonschema.Schema:
				all = append(all, one)
			case []*jsonschema.Schema:
				all = append(all, one...)
			}
		}
		for _, one := range all {
			if one != nil && !yield(one) {
				return
			}
		}
	}
}
