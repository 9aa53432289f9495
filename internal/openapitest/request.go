package openapitest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// parameter is one of an operation's.
type parameter struct {
	name, in string
	at       string // JSON pointer
	raw      map[string]any
}

func (d *Document) parameters(op Operation) []parameter {
	operation, _ := d.look(op.at)
	list, _ := operation["parameters"].([]any)
	var out []parameter
	for i, one := range list {
		raw, _ := one.(map[string]any)
		at := op.at + "/parameters/" + strconv.Itoa(i)
		if ref, ok := raw["$ref"].(string); ok {
			raw, at = d.look(ref[1:])
		}
		name, _ := raw["name"].(string)
		in, _ := raw["in"].(string)
		out = append(out, parameter{name: name, in: in, at: at, raw: raw})
	}
	return out
}

// checkRequest checks a request that the daemon took: one that the document
// forbids must not be taken.
func (d *Document) checkRequest(r *http.Request, body []byte) error {
	op, ok := d.find(r.Method, r.URL.Path)
	if !ok {
		return errors.New("a request was taken that is not documented")
	}
	query := r.URL.Query()
	for _, p := range d.parameters(op) {
		value := r.Header.Get(p.name)
		if p.in == "query" {
			value = query.Get(p.name)
			query.Del(p.name)
		}
		if value == "" || p.in == "path" {
			continue
		}
		if err := d.checkParameter(p, value); err != nil {
			return fmt.Errorf("parameter %s: %w", p.name, err)
		}
	}
	if len(query) > 0 {
		return fmt.Errorf("query %v is not documented", query)
	}
	schema := op.at + "/requestBody/content/application~1json/schema"
	if found, _ := d.look(schema); found == nil {
		return nil // a body that is never read
	}
	if coding := r.Header.Get("Content-Encoding"); coding != "" && coding != "identity" {
		return nil // not JSON as it is sent
	}
	return d.holdJSON(request, schema, bytes.TrimPrefix(body, []byte("\ufeff")))
}

func (d *Document) checkParameter(p parameter, value string) error {
	if schema, _ := p.raw["schema"].(map[string]any); schema["type"] == "integer" {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return err
		}
		return d.validate(request, p.at+"/schema", n)
	}
	return d.validate(request, p.at+"/schema", value)
}
