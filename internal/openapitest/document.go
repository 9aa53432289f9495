// Package openapitest holds HTTP exchanges against the document that the daemon
// serves: a test client's transport that lets nothing undocumented pass.
package openapitest

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"penstock/server/openapi"
)

// Document is the parsed document; safe for concurrent use.
type Document struct {
	root       map[string]any
	operations []Operation

	mu       sync.Mutex
	compiler map[side]*jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema
}

// side tells requests, in which more may be said than is written, from replies.
type side string

const (
	request side = "request"
	reply   side = "reply"
)

// Operation is one method of one path.
type Operation struct {
	Method, Path string
	pattern      *regexp.Regexp
	at           string // JSON pointer
}

// New parses the document. What is no valid schema fails when it is first used,
// or in Check.
func New() (*Document, error) { return parse(openapi.Document()) }

func parse(text []byte) (*Document, error) {
	d := &Document{compiler: map[side]*jsonschema.Compiler{}, schemas: map[string]*jsonschema.Schema{}}
	for _, s := range []side{request, reply} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("openapi.json: %w", err)
		}
		if d.root, err = object(doc); err != nil {
			return nil, fmt.Errorf("openapi.json: %w", err)
		}
		if s == reply {
			closeObjects(doc)
		}
		c := jsonschema.NewCompiler()
		c.DefaultDraft(jsonschema.Draft2020)
		c.AssertFormat()
		if err := c.AddResource(string(s)+".json", doc); err != nil {
			return nil, fmt.Errorf("openapi.json: %w", err)
		}
		d.compiler[s] = c
	}
	return d, d.readOperations()
}

func object(v any) (map[string]any, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%T where an object is needed", v)
	}
	return m, nil
}

// closeObjects makes a property that is not written an error: a reply has
// nothing that the document doesn't name.
func closeObjects(v any) {
	switch v := v.(type) {
	case map[string]any:
		_, named := v["properties"]
		_, said := v["additionalProperties"]
		if v["type"] == "object" && named && !said {
			v["additionalProperties"] = false
		}
		for _, one := range v {
			closeObjects(one)
		}
	case []any:
		for _, one := range v {
			closeObjects(one)
		}
	}
}

func (d *Document) readOperations() error {
	paths, err := object(d.root["paths"])
	if err != nil {
		return fmt.Errorf("paths: %w", err)
	}
	for path, item := range paths {
		methods, err := object(item)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for method := range methods {
			op := Operation{Method: strings.ToUpper(method), Path: path, at: "/paths/" + escape(path) + "/" + method}
			if op.pattern, err = d.pathPattern(op); err != nil {
				return fmt.Errorf("%s %s: %w", op.Method, path, err)
			}
			d.operations = append(d.operations, op)
		}
	}
	return nil
}

var placeholder = regexp.MustCompile(`\{[a-z]+\}`)

// pathPattern puts the parameters' own patterns in their places.
func (d *Document) pathPattern(op Operation) (*regexp.Regexp, error) {
	patterns := map[string]string{}
	for _, p := range d.parameters(op) {
		if p.in == "path" {
			schema, err := object(p.raw["schema"])
			if err != nil {
				return nil, fmt.Errorf("parameter %s: %w", p.name, err)
			}
			patterns["{"+p.name+"}"] = strings.Trim(fmt.Sprint(schema["pattern"]), "^$")
		}
	}
	var missing error
	text := placeholder.ReplaceAllStringFunc(op.Path, func(name string) string {
		if patterns[name] == "" {
			missing = fmt.Errorf("no path parameter %s with a pattern", name)
		}
		return "(?:" + patterns[name] + ")"
	})
	if missing != nil {
		return nil, missing
	}
	return regexp.Compile("^" + text + "$")
}

// Operations are all that the document has, in no order.
func (d *Document) Operations() []Operation { return d.operations }

// find is the operation of a request; known tells whether another method of
// the path is documented.
func (d *Document) find(method, path string) (op Operation, ok bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, o := range d.operations {
		if o.Method == method && o.pattern.MatchString(path) {
			return o, true
		}
	}
	return Operation{}, false
}

// escape is a JSON pointer's token (RFC 6901, 3).
func escape(token string) string {
	return strings.NewReplacer("~", "~0", "/", "~1").Replace(token)
}

// look finds what a JSON pointer names and follows references; at is where it
// was found at last. nil where there is nothing.
func (d *Document) look(pointer string) (v map[string]any, at string) {
	for {
		var here any = d.root
		for token := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
			m, _ := here.(map[string]any)
			here = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(token)]
		}
		v, _ = here.(map[string]any)
		ref, ok := v["$ref"].(string)
		if !ok || len(v) > 1 {
			return v, pointer
		}
		pointer = strings.TrimPrefix(ref, "#")
	}
}

// validate holds v against the schema at a pointer.
func (d *Document) validate(s side, pointer string, v any) error {
	schema, err := d.schema(s, pointer)
	if err != nil {
		return err
	}
	return schema.Validate(v)
}

func (d *Document) schema(s side, pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	url := string(s) + ".json#" + pointer
	if known, ok := d.schemas[url]; ok {
		return known, nil
	}
	made, err := d.compiler[s].Compile(url)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", pointer, err)
	}
	d.schemas[url] = made
	return made, nil
}
