package openapitest

import (
	"errors"
	"fmt"
	"strings"
)

// Check holds the document against itself: every schema is one, every reference
// leads somewhere, and every component is used.
func (d *Document) Check() error {
	var errs []error
	used := map[string]bool{}
	each("", d.root, func(at string, v map[string]any) {
		if ref, ok := v["$ref"].(string); ok {
			used[strings.TrimPrefix(ref, "#")] = true
			if found, _ := d.look(strings.TrimPrefix(ref, "#")); found == nil {
				errs = append(errs, fmt.Errorf("%s: %s leads nowhere", at, ref))
			}
		}
		if _, ok := v["schema"]; ok && !strings.Contains(at, "/properties") {
			errs = append(errs, d.compiles(at+"/schema"))
		}
	})
	for _, kind := range []string{"schemas", "responses", "headers", "parameters"} {
		parts, _ := d.look("/components/" + kind)
		for name := range parts {
			at := "/components/" + kind + "/" + name
			if kind == "schemas" {
				errs = append(errs, d.compiles(at))
			}
			if !used[at] && !isUnmatched(name) {
				errs = append(errs, fmt.Errorf("%s is used nowhere", at))
			}
		}
	}
	return errors.Join(errs...)
}

func (d *Document) compiles(at string) error {
	_, err := d.schema(reply, at)
	return err
}

func isUnmatched(name string) bool {
	for _, one := range unmatched {
		if one == name {
			return true
		}
	}
	return false
}

// each visits every object below v.
func each(at string, v any, visit func(at string, v map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(at, v)
		for key, one := range v {
			each(at+"/"+escape(key), one, visit)
		}
	case []any:
		for i, one := range v {
			each(fmt.Sprintf("%s/%d", at, i), one, visit)
		}
	}
}

// ReplyCodes are the error codes of all documented replies, with doubles.
func (d *Document) ReplyCodes() (out []string) {
	responses, _ := d.look("/components/responses")
	for name := range responses {
		at := "/components/responses/" + name
		v, _ := d.look(at)
		each(at, v, func(at string, v map[string]any) {
			if !strings.HasSuffix(at, "/properties/code") {
				return
			}
			if ref, ok := v["$ref"].(string); ok {
				v, _ = d.look(strings.TrimPrefix(ref, "#"))
			}
			words, _ := v["enum"].([]any)
			for _, one := range words {
				if word, ok := one.(string); ok {
					out = append(out, word)
				}
			}
		})
	}
	return out
}
