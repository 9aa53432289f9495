package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compiled(t testing.TB, raw string) *Schema {
	t.Helper()
	s, err := Compile([]byte(raw))
	if err != nil {
		t.Fatalf("%s: %v", clip(raw, 200), err)
	}
	return s
}

// check is what is wrong with an answer; "" is that it is valid.
func check(s *Schema, answer string) string {
	found, err := Find(answer)
	if err == nil {
		err = s.Check(found.Value)
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

func TestCheck(t *testing.T) {
	const (
		tree  = `{"$defs":{"node":{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#/$defs/node"},{"type":"null"}]}},"required":["v","next"],"additionalProperties":false}},"$ref":"#/$defs/node"}`
		shape = `{"oneOf":[{"type":"object","properties":{"kind":{"const":"circle"},"r":{"type":"number"}},"required":["kind","r"]},{"type":"object","properties":{"kind":{"const":"square"},"a":{"type":"number","exclusiveMinimum":0}},"required":["kind","a"]}]}`
	)
	for _, row := range []struct{ name, schema, answer, wrong string }{
		{"nested", `{"properties":{"a":{"properties":{"b":{"items":{"type":"string"}}}}}}`, `{"a":{"b":["x","y"]}}`, ""},
		{"nested, wrong", `{"properties":{"a":{"properties":{"b":{"items":{"type":"string"}}}}}}`, `{"a":{"b":["x",7]}}`, "a.b[1]: has to be of type string, is number"},
		{"enum", `{"enum":["red","green",1,null,{"a":[1]}]}`, `{"a":[1.0]}`, ""},
		{"enum, wrong", `{"enum":["red",1,null]}`, `"blue"`, `has to be one of "red", 1, null`},
		{"const", `{"const":1e2}`, `100`, ""},
		{"a recursive $ref", tree, `{"v":1,"next":{"v":2,"next":null}}`, ""},
		{"a recursive $ref, wrong", tree, `{"v":1,"next":{"v":2}}`, `next: fits none of anyOf: (1) lacks "next", (2) has to be of type null, is object`},
		{"$ref to its root", `{"type":"object","additionalProperties":{"$ref":"#"}}`, `{"a":{"b":{}}}`, ""},
		{"$ref by anchor and id", `{"$id":"https://example.com/s","$ref":"#it","$defs":{"a":{"$anchor":"it","$ref":"b.json"},"b":{"$id":"b.json","type":"string"}}}`, `1`, "has to be of type string, is number"},
		{"union", shape, `{"kind":"square","a":2}`, ""},
		{"union, wrong", shape, `{"kind":"square","r":2}`, `fits none of oneOf: (1) kind: has to be "circle", (2) lacks "a"`},
		{"union, both", `{"oneOf":[{"minimum":1},{"maximum":3}]}`, `2`, "fits more than one of oneOf: (1) and (2)"},
		{"all", `{"allOf":[{"required":["a"]},{"required":["b"]}]}`, `{"a":1}`, `lacks "b"`},
		{"not", `{"not":{"type":"null"}}`, `null`, "fits what not excludes"},
		{"if", `{"if":{"required":["a"]},"then":{"required":["b"]},"else":false}`, `{"a":1}`, `lacks "b"`},
		{"a long string", `{"type":"string","minLength":400000}`, `"` + strings.Repeat("é", 400_000) + `"`, ""},
		{"too long a string", `{"type":"string","maxLength":3}`, `"éééé"`, "has 4 characters, has to have at most 3"},
		{"a pattern", `{"pattern":"^[a-z]{1,40}$"}`, `"abc"`, ""},
		{"a pattern, wrong", `{"pattern":"^\\d+$"}`, `"abc"`, `has to match the pattern "^\\d+$"`},
		{"a format", `{"format":"date-time"}`, `"2026-01-02T03:04:05Z"`, ""},
		{"a format, wrong", `{"format":"date-time"}`, `"tomorrow"`, "has to be of format date-time"},
		{"a format that isn't known", `{"format":"color"}`, `"x"`, ""},
		{"a format of patterns", `{"$schema":"http://json-schema.org/draft-07/schema#","format":"regex"}`, `"(?=x)"`, "has to be a regular expression: "},
		{"no more", `{"properties":{"a":true},"additionalProperties":false}`, `{"a":1,"c":2,"b":3}`, `may not have "b", "c"`},
		{"pattern of properties", `{"patternProperties":{"^n_":{"type":"number"}}}`, `{"n_a":"x"}`, "n_a: has to be of type number, is string"},
		{"names of properties", `{"propertyNames":{"maxLength":2}}`, `{"abc":1}`, `the property name "abc" doesn't fit: has 3 characters, has to have at most 2`},
		{"dependent", `{"dependentRequired":{"a":["b","c"]}}`, `{"a":1,"b":1}`, `lacks "c", which "a" asks for`},
		{"unevaluated", `{"allOf":[{"properties":{"a":true}}],"unevaluatedProperties":false}`, `{"a":1,"b":2}`, "b: may not be there"},
		{"items", `{"prefixItems":[{"type":"string"}],"items":false,"minItems":1}`, `["a",1]`, "[1]: may not be there"},
		{"draft 7's items", `{"$schema":"http://json-schema.org/draft-07/schema#","items":[{"type":"string"}],"additionalItems":false}`, `["a",1]`, "has 1 items too many"},
		{"draft 4's bounds", `{"$schema":"http://json-schema.org/draft-04/schema#","minimum":3,"exclusiveMinimum":true}`, `3`, "has to be more than 3"},
		{"unique", `{"uniqueItems":true}`, `[1,"a",1.0]`, "has equal items: [0] and [2]"},
		{"contains", `{"contains":{"const":7},"minContains":2}`, `[7,1]`, "has 1 items that fit contains, has to have at least 2"},
		{"numbers are exact", `{"maximum":9007199254740992}`, `9007199254740993`, "has to be at most 9.00719925474099e+15"},
		{"multiples are exact", `{"multipleOf":0.01}`, `19.99`, ""},
		{"an integer", `{"type":"integer"}`, `3.0`, ""},
		{"a scalar for a root", `{"type":"number"}`, `3.5e2`, ""},
		{"all is valid", `true`, `[{}]`, ""},
		{"nothing is valid", `false`, `1`, "may not be there"},
		{"several problems", `{"required":["a"],"properties":{"b":{"type":"null"},"c":{"minItems":2}}}`, `{"b":1,"c":[]}`, `lacks "a"; b: has to be of type null, is number; c: has 0 items, has to have at least 2`},
		{"a key to be quoted", `{"properties":{"a b":{"properties":{"0":{"type":"null"}}}}}`, `{"a b":{"0":1}}`, `["a b"][0]: has to be of type null, is number`},
	} {
		got := check(compiled(t, row.schema), row.answer)
		if got != row.wrong && (row.wrong == "" || !strings.HasPrefix(got, row.wrong)) {
			t.Errorf("%s: %q, want %q", row.name, got, row.wrong)
		}
	}
}

func TestCompile_Refuses(t *testing.T) {
	for _, row := range []struct{ name, schema, path, says string }{
		{"a wrong type", `{"properties":{"x":{"type":"strng"}}}`, "properties.x.type", `"array", "boolean", "integer"`},
		{"a wrong keyword", `{"items":{"required":"a"}}`, "items.required", "has to be of type array, is string"},
		{"not a schema", `[]`, "", "has to be of type boolean or object, is array"},
		{"not JSON", `{"type":`, "", "line 1, column 9: the JSON ends"},
		{"a key twice", `{"type":"object","type":"array"}`, "", `the key "type" is there twice`},
		{"no such definition", `{"properties":{"a":{"$ref":"#/$defs/nope"}}}`, "properties.a.$ref", `"#/$defs/nope" is not there`},
		{"no such anchor", `{"properties":{"a":{"$ref":"#nope"}}}`, "properties.a.$ref", `"#nope" is not there`},
		{"a URL", `{"properties":{"a":{"$ref":"https://example.com/x.json"}}}`, "properties.a.$ref", "nothing is loaded"},
		{"a relative URL", `{"properties":{"a":{"$ref":"x.json#/a"}}}`, "properties.a.$ref", "nothing is loaded"},
		{"a dialect", `{"$schema":"https://example.com/dialect"}`, "$schema", "is not known: use one of https://json-schema.org/draft/2020-12/schema"},
		{"part of a dialect", `{"$schema":"https://json-schema.org/draft/2020-12/meta/core"}`, "$schema", "is not known"},
		{"the dialect itself", `{"$ref":"http://json-schema.org/draft-07/schema#"}`, "", "is not in it"},
		{"a lookahead", `{"properties":{"a":{"pattern":"^(?=.*x)y"}}}`, "properties.a.pattern", "RE2's, without lookaround"},
		{"a backreference", `{"patternProperties":{"(a)\\1":{}}}`, "", "RE2's, without lookaround"},
		{"itself", `{"anyOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"not":{"$ref":"#"}}}}`, "", "refers to itself for the same value"},
		{"$dynamicRef", `{"$defs":{"a":{"$dynamicAnchor":"n"}},"items":{"$dynamicRef":"#n"}}`, "items.$dynamicRef", "use $ref"},
		{"multiples of nothing", `{"multipleOf":0}`, "multipleOf", "has to be more than 0"},
		{"a number beyond use", `{"minimum":1e999999999}`, "", "an exponent of 400"},
		{"a count beyond use", `{"items":{"maxLength":18446744073709551616}}`, "items.maxLength", "a count of at most"},
	} {
		_, err := Compile([]byte(row.schema))
		var told *Error
		if !errors.As(err, &told) || told.Path != row.path || !strings.Contains(told.Problem, row.says) {
			t.Errorf("%s: %v, want %s: %s", row.name, err, row.path, row.says)
		}
	}
}

func TestError_Below(t *testing.T) {
	const at = "response_format.json_schema.schema"
	for path, want := range map[string]string{"": at, "properties.x.type": at + ".properties.x.type", `["a b"].x`: at + `["a b"].x`} {
		if got := (&Error{Path: path}).Below(at); got != want {
			t.Errorf("%q below: %q, want %q", path, got, want)
		}
	}
}

// No schema makes the daemon ask anything of a network, or read a file.
func TestCompile_LoadsNothing(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, `{"type":"string"}`)
	}))
	defer server.Close()
	file := filepath.Join(t.TempDir(), "s.json")
	if err := os.WriteFile(file, []byte(`{"type":"string"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, location := range []string{server.URL + "/s.json", "file://" + file, file, "//" + strings.TrimPrefix(server.URL, "http://") + "/s.json"} {
		for _, schema := range []string{`{"$ref":%q}`, `{"$schema":%q}`, `{"properties":{"a":{"$ref":%q}}}`, `{"$id":%[1]q,"$ref":%[1]q}`, `{"$id":%q,"$ref":"other.json"}`, `{"items":{"$id":%q,"items":{"$ref":"x.json"}}}`} {
			if _, err := Compile(fmt.Appendf(nil, schema, location)); err == nil {
				t.Errorf(schema+" is taken", location)
			}
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

func TestCheck_SameWordsEachTime(t *testing.T) {
	const schema = `{"propertyNames":{"maxLength":1},"additionalProperties":{"properties":{"x":{"type":"null"}},"propertyNames":{"pattern":"^x$"},"additionalProperties":false}}`
	const answer = `{"aa":{"x":1,"y":2},"bb":{"x":2,"z":1},"cc":{"x":[]},"dd":{"q":1},"ee":{"r":1},"ff":{"x":""},"gg":{"x":true},"hh":{"s":1}}`
	first := check(compiled(t, schema), answer)
	for range 100 {
		if again := check(compiled(t, schema), answer); again != first {
			t.Fatalf("%s\n%s", first, again)
		}
	}
	if len(first) > toldMax*(problemMax+pathMax) {
		t.Errorf("%d bytes", len(first))
	}
}

func TestCheck_Concurrent(t *testing.T) {
	s := compiled(t, `{"items":{"pattern":"^a+$"}}`)
	done := make(chan string)
	for range 4 {
		go func() { done <- check(s, `["aa","b"]`) }()
	}
	for range 4 {
		if got := <-done; got == "" {
			t.Error("an invalid answer is taken")
		}
	}
}

// What compiles is judged as the library alone judges it, and nothing panics.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		`{"$id":"http://x/y","$defs":{"a":{"$id":"b","$anchor":"c"}},"$ref":"b#c"}`,
		`{"$schema":"http://json-schema.org/draft-07/schema#","definitions":{"a":{"$id":"#x","type":["string","null"]}},"properties":{"q":{"$ref":"#x"}},"dependencies":{"a":["b"],"b":{"minProperties":3}}}`,
		`{"type":"object","properties":{"a":{"enum":[1,"b",null]},"b":{"items":[{"const":1}],"additionalItems":false}},"patternProperties":{"^x":{"pattern":"a+"}},"unevaluatedProperties":false,"if":{"required":["a"]},"then":{"propertyNames":{"maxLength":3}},"else":false}`,
		`{"prefixItems":[{"multipleOf":0.1}],"items":{"minimum":3,"exclusiveMaximum":9},"contains":{"type":"integer"},"minContains":2,"uniqueItems":true}`,
		`{"$schema":"http://json-schema.org/draft-04/schema#","id":"http://a/b","exclusiveMinimum":true,"minimum":3}`,
		`{"$schema":"https://json-schema.org/draft/2019-09/schema","$anchor":"a","format":"regex","$ref":"#/$defs/x","$defs":{"x":{}}}`,
	} {
		f.Add(s, `{"a":1,"b":[1,2.5,"x"],"xa":null}`)
		f.Add(s, "[1,2,3,3]")
		f.Add(s, "text ```json\n\"x\"\n```")
	}
	f.Fuzz(func(t *testing.T, schema, answer string) {
		s, err := Compile([]byte(schema))
		found, wrong := Find(answer)
		if err != nil || wrong != nil {
			return
		}
		var plain any
		if err := json.Unmarshal([]byte(found.JSON), &plain); err != nil || !strings.Contains(answer, found.JSON) {
			t.Fatalf("found %q: %v", found.JSON, err)
		}
		err = s.Check(found.Value)
		if err != nil && strings.Contains(err.Error(), "steps") {
			return
		}
		if alone := s.root.Validate(found.Value); (alone == nil) != (err == nil) {
			t.Fatalf("%v, alone %v", err, alone)
		}
		var told *Error
		if err != nil && (!errors.As(err, &told) || told.Problem == "") {
			t.Fatalf("%#v", err)
		}
	})
}

var _ jsonschema.Regexp = (*pattern)(nil)
