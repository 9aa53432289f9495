// Package schema holds answers to JSON Schemas, at a bounded cost: a schema is a
// client's, an answer is a model's, and neither may cost more than what is written here.
// It is pure, and loads nothing: a $ref points into its own schema.
//
//	schema.go    Compile: a client's schema, and what is wrong with it
//	bounds.go    what a schema may be before, and once it is compiled
//	cost.go      how many steps the check of an answer may take, counted before it is made
//	json.go      JSON as an answer has to be: no key twice, no number beyond use
//	find.go      the one JSON value among an answer's words
//	words.go     what is wrong, in words for a client and for a model
//
// The check itself is github.com/santhosh-tekuri/jsonschema's. Its dialect is draft 2020-12
// where a schema doesn't name another; formats are asserted in all of them.
package schema

import (
	"errors"
	"fmt"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is a compiled schema. Safe for concurrent use.
type Schema struct {
	root *jsonschema.Schema
	// Title is its own name for itself, bounded; "" where it has none.
	Title string
}

// Error is what is wrong with a schema, or with an answer.
type Error struct {
	Path    string // where, such as properties.age.type; "" is the whole
	Problem string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.Problem
	}
	return e.Path + ": " + e.Problem
}

// Below is the path of what is wrong with a schema that is itself at path.
func (e *Error) Below(path string) string {
	if path == "" || e.Path == "" || strings.HasPrefix(e.Path, "[") {
		return path + e.Path
	}
	return path + "." + e.Path
}

// base is what a schema's own location is called: nothing is there, or can be.
const base = "https://penstock.invalid/schema"

// Compile makes a schema of its JSON. Any error is an *Error.
func Compile(raw []byte) (s *Schema, err error) {
	if len(raw) > rawMax {
		return nil, &Error{"", fmt.Sprintf("has %d bytes, the most are %d: leave out descriptions, or ask for less", len(raw), rawMax)}
	}
	doc, err := parse(string(raw), schemaLimits)
	if err != nil {
		return nil, &Error{"", err.Error()}
	}
	shape, err := checkShape(doc)
	if err != nil {
		return nil, err
	}
	root, err := compile(doc)
	if err != nil {
		return nil, compileError(err, shape)
	}
	if err := checkCompiled(root); err != nil {
		return nil, err
	}
	return &Schema{root: root, Title: clip(root.Title, titleMax)}, nil
}

func compile(doc any) (*jsonschema.Schema, error) {
	patterns := &patternBudget{}
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	c.UseLoader(nothing{})
	c.UseRegexpEngine(patterns.compile)
	var root *jsonschema.Schema
	err := guard(func() (err error) {
		if err := c.AddResource(base, doc); err != nil {
			return err
		}
		root, err = c.Compile(base)
		return err
	})
	return root, err
}

// guard keeps a fault of the library, which is given what clients and models write, from
// ending the daemon.
func guard(f func() error) (err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("this schema can't be used: %v", fault)
		}
	}()
	return f()
}

// nothing is what may be loaded.
type nothing struct{}

var errNotLoaded = errors.New("nothing is loaded from elsewhere")

func (nothing) Load(string) (any, error) { return nil, errNotLoaded }

// compileError is an error of the library in our words.
func compileError(err error, s *shape) *Error {
	var load *jsonschema.LoadURLError
	var absent *jsonschema.JSONPointerNotFoundError
	var anchor *jsonschema.AnchorNotFoundError
	var invalid *jsonschema.SchemaValidationError
	var pattern *jsonschema.InvalidRegexError
	var told *jsonschema.ValidationError
	switch {
	case errors.As(err, &load):
		return elsewhere(s.place(load.URL), load.URL)
	case errors.As(err, &absent):
		return &Error{s.place(absent.URL), fmt.Sprintf("%q is not there", clip(ours(absent.URL), valueMax))}
	case errors.As(err, &anchor):
		return &Error{s.place(anchor.Reference), fmt.Sprintf("%q is not there", clip(ours(anchor.Reference), valueMax))}
	case errors.As(err, &invalid) && errors.As(invalid.Err, &told):
		if all := explain(told); len(all) > 0 {
			return &Error{(&Error{Path: all[0].path}).Below(pathOf(invalid.URL)), all[0].words}
		}
	case errors.As(err, &pattern):
		return &Error{pathOf(pattern.URL), fmt.Sprintf("%q: %v", clip(pattern.Regex, valueMax), pattern.Err)}
	}
	return &Error{"", clip(ours(err.Error()), problemMax)}
}

// ours takes out what stands for the schema's own location.
func ours(text string) string { return strings.ReplaceAll(text, base, "") }

func elsewhere(path, location string) *Error {
	return &Error{path, fmt.Sprintf("%q is not in it, and nothing is loaded from elsewhere: put what it refers to into $defs", clip(ours(location), valueMax))}
}

// Check holds a value to the schema, as Find gives it. Any error is an *Error.
func (s *Schema) Check(v any) error {
	if err := affordable(s.root, v); err != nil {
		return err
	}
	err := guard(func() error { return s.root.Validate(v) })
	if err == nil {
		return nil
	}
	var told *jsonschema.ValidationError
	if !errors.As(err, &told) {
		return &Error{"", clip(err.Error(), problemMax)}
	}
	return &Error{"", summary(explain(told))}
}

// IsObject is the check of an answer that may be any object.
func IsObject(v any) error {
	if _, ok := v.(map[string]any); !ok {
		return &Error{"", fmt.Sprintf("is %s, has to be an object", nameOf(v))}
	}
	return nil
}
