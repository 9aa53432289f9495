package schema

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"
)

// Parts of schemas and answers.
func times(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
func array(n int, item string) string { return "[" + times(n, item) + "]" }
func numbered(n int, item string) string {
	var all []string
	for i := range n {
		all = append(all, strings.ReplaceAll(item, "#N", fmt.Sprint(i)))
	}
	return strings.Join(all, ",")
}
func nested(n int, before, middle, after string) string {
	return strings.Repeat(before, n) + middle + strings.Repeat(after, n)
}

// alike are arrays that a hash of their bytes doesn't tell apart.
func alike(n int) string {
	var all []string
	for i := range n {
		text, items := "", []string{}
		for bit := range 16 {
			if i>>bit&1 == 1 {
				text += `a\u0004`
			} else {
				items, text = append(items, `"`+text+`a"`), ""
			}
		}
		all = append(all, "["+strings.Join(append(items, `"`+text+`"`), ",")+"]")
	}
	return "[" + strings.Join(all, ",") + "]"
}

const union = `{"anyOf":[{"properties":{"a":{"$ref":"#"}},"required":["x"]},{"properties":{"a":{"$ref":"#"}},"required":["x"]},{"type":"null"}]}`

// Each of these would hold a processor for seconds, hours or for ever.
func TestCheck_HostileIsRefusedByCount(t *testing.T) {
	for _, row := range []struct{ name, schema, answer string }{
		{"unions and recursion", union, nested(60, `{"a":`, "null", "}")},
		{"many alternatives for many items", `{"items":{"anyOf":[` + times(2900, `{"type":"string"}`) + `]}}`, array(90_000, "1")},
		{"an enum of numbers for many items", `{"items":{"enum":` + array(2000, "1.1") + `}}`, array(90_000, "1.2")},
		{"items that look alike", `{"uniqueItems":true}`, alike(1500)},
		{"a pattern that backtracks", `{"items":{"pattern":"(a|aa|aaa|[ab]{1,500})*c"}}`, array(300, `"`+strings.Repeat("a", 3000)+`"`)},
		{"patterns of many properties", `{"patternProperties":{` + numbered(15, `"^(a|b){1,300}#N":{}`) + `}}`, "{" + numbered(5000, `"k#N":1`) + "}"},
		{"many names that have to be there", `{"items":{"required":[` + numbered(2000, `"r#N"`) + `]}}`, array(10_000, "{}")},
		{"parts of all parts", `{"unevaluatedProperties":false,"allOf":[` + times(900, `{"anyOf":[{"required":["a"]}]}`) + `]}`, "{" + numbered(5000, `"k#N":1`) + "}"},
		{"a long text, often", `{"anyOf":[` + times(2000, `{"maxLength":3}`) + `]}`, `"` + strings.Repeat("x", 1_000_000) + `"`},
		{"exact arithmetic", `{"items":{"multipleOf":1.3e-399}}`, array(90_000, "1.7e300")},
	} {
		s := compiled(t, row.schema)
		found, err := Find(row.answer)
		if err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		m := meter{left: stepsMax}
		m.visit(s.root, found.Value, 0)
		if m.left >= 0 {
			t.Errorf("%s: %d steps", row.name, stepsMax-m.left)
		}
		if err := s.Check(found.Value); err == nil || !strings.Contains(err.Error(), "can't be held to the schema within 100000 steps") {
			t.Errorf("%s: %v", row.name, err)
		}
	}
}

// A check just beyond the bound isn't made, though it would be harmless.
func TestCheck_IsCounted(t *testing.T) {
	s := compiled(t, `{"items":{"type":"string"}}`)
	if wrong := check(s, array(50_000, `"a"`)); wrong != "" {
		t.Error(wrong)
	}
	if wrong := check(s, array(99_000, `"a"`)); !strings.Contains(wrong, "steps") {
		t.Errorf("a check beyond the bound is made: %q", wrong)
	}
}

// What people ask for is far from the bounds.
func TestCheck_UsualIsAffordable(t *testing.T) {
	const item = `{"id":7,"name":"a name","tags":["x","y"],"price":1.25,"note":null,"of":{"a":1,"b":true}}`
	const schema = `{"type":"array","items":{"type":"object","additionalProperties":false,"required":["id","name","tags","price","note","of"],"properties":{
		"id":{"type":"integer","minimum":0},"name":{"type":"string","pattern":"^[a-z ]{1,80}$"},"tags":{"type":"array","items":{"enum":["x","y","z"]}},
		"price":{"type":"number"},"note":{"anyOf":[{"type":"string"},{"type":"null"}]},"of":{"type":"object","additionalProperties":{"type":["integer","boolean"]}}}}}`
	if wrong := check(compiled(t, schema), array(1000, item)); wrong != "" {
		t.Error(wrong)
	}
	tree := nested(40, `{"v":1,"next":`, "null", "}")
	if wrong := check(compiled(t, `{"type":"object","properties":{"v":{"type":"integer"},"next":{"anyOf":[{"$ref":"#"},{"type":"null"}]}}}`), tree); wrong != "" {
		t.Error(wrong)
	}
}

// Each of these would take long to compile, or much memory.
func TestCompile_HostileIsRefusedByCount(t *testing.T) {
	for _, row := range []struct{ name, schema, says string }{
		{"size", `{"title":"` + strings.Repeat("x", rawMax) + `"}`, "bytes, the most are 65536"},
		{"depth", nested(33, `{"allOf":[`, "{}", "]}"), "nested deeper than 64"},
		{"values", `{"examples":` + array(20_000, "1") + `}`, "more than 10000 values"},
		{"parts", `{"allOf":[` + times(3100, "{}") + `]}`, "3000 objects and booleans"},
		{"long names", `{"properties":{"` + strings.Repeat("k", 30_000) + `":{"anyOf":[` + times(100, "{}") + `]}}}`, "bytes in the paths"},
		{"references", `{"$defs":{` + numbered(400, `"#N":{}`) + `},"allOf":[` + numbered(400, `{"$ref":"#/$defs/#N"}`) + `]}`, "300 different $ref"},
		{"references to anywhere", `{"x":{` + numbered(200, `"#N":{}`) + `},"allOf":[` + numbered(200, `{"$ref":"#/x/#N"}`) + `]}`, "100 different $ref to other places"},
		{"a chain of references", `{"$ref":"#/$defs/a0","$defs":{` + chain(100) + `,"a100":{}}}`, "more than 64 schemas in each other"},
		{"enums", `{"enum":[` + numbered(2100, "#N") + `]}`, "2000 values in its enums"},
		{"a long pattern", `{"pattern":"` + strings.Repeat("a", 600) + `"}`, "a pattern of 600 bytes"},
		{"a pattern that counts", `{"pattern":"(abcdefghij){1000}"}`, "instructions, the most are 2000"},
		{"a pattern of counts of counts", `{"pattern":"((((x{10}){10}){10}){1})"}`, "instructions, the most are 2000"},
		{"a pattern of large classes", `{"pattern":"` + strings.Repeat(`\\pL`, 120) + `"}`, "instructions, the most are 2000"},
		{"many patterns", `{"allOf":[` + times(100, `{"pattern":"(abcdefghij){100}"}`) + `]}`, "pass 20000 instructions"},
	} {
		_, err := Compile([]byte(row.schema))
		var told *Error
		if !errors.As(err, &told) || !strings.Contains(told.Problem, row.says) {
			t.Errorf("%s: %v, want %q", row.name, err, row.says)
		}
	}
}

func chain(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"a%d":{"$ref":"#/$defs/a%d"}`, i, i+1))
	}
	return strings.Join(all, ",")
}

// counted is what the library calls for each schema that it holds a value to.
type counted struct{ steps *int }

func (c counted) Validate(*jsonschema.ValidatorContext, any) { *c.steps++ }

// The count is never below what the library does.
func TestMeter_CountsEveryStep(t *testing.T) {
	leaf := rapid.SampledFrom([]string{
		"true", `{"type":"string"}`, `{"type":["integer","null"]}`, `{"enum":[1,"a"]}`, `{"const":null}`, `{"minLength":1}`, `{"$ref":"#/$defs/d"}`, `{"minimum":1}`, `{"required":["a"]}`, `{"pattern":"a"}`,
	})
	var schemas func(depth int) *rapid.Generator[string]
	schemas = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			if depth == 0 {
				return leaf.Draw(t, "leaf")
			}
			of := schemas(depth - 1)
			some := func() string {
				return strings.Join(rapid.SliceOfN(of, 1, 3).Draw(t, "some"), ",")
			}
			one := func() string { return of.Draw(t, "one") }
			return rapid.SampledFrom([]func() string{
				func() string { return `{"anyOf":[` + some() + `]}` },
				func() string { return `{"oneOf":[` + some() + `],"type":"object"}` },
				func() string { return `{"allOf":[` + some() + `],"not":` + one() + `}` },
				func() string {
					return `{"properties":{"a":` + one() + `,"b":` + one() + `},"additionalProperties":` + one() + `}`
				},
				func() string { return `{"patternProperties":{"^a":` + one() + `},"propertyNames":` + one() + `}` },
				func() string { return `{"if":` + one() + `,"then":` + one() + `,"else":` + one() + `}` },
				func() string {
					return `{"prefixItems":[` + some() + `],"items":` + one() + `,"contains":` + one() + `}`
				},
				func() string {
					return `{"allOf":[` + some() + `],"unevaluatedProperties":` + one() + `,"unevaluatedItems":` + one() + `}`
				},
				func() string { return `{"dependentSchemas":{"a":` + one() + `},"items":` + one() + `}` },
			}).Draw(t, "kind")()
		})
	}
	var values func(depth int) *rapid.Generator[string]
	values = func(depth int) *rapid.Generator[string] {
		return rapid.Custom(func(t *rapid.T) string {
			if depth == 0 {
				return rapid.SampledFrom([]string{"1", `"a"`, "null", "2.5", `""`, "true"}).Draw(t, "value")
			}
			of := values(depth - 1)
			if rapid.Bool().Draw(t, "array") {
				return "[" + strings.Join(rapid.SliceOfN(of, 0, 4).Draw(t, "items"), ",") + "]"
			}
			return `{"a":` + of.Draw(t, "a") + `,"b":` + of.Draw(t, "b") + `,"c":` + of.Draw(t, "c") + `}`
		})
	}
	rapid.Check(t, func(t *rapid.T) {
		raw := `{"$defs":{"d":` + schemas(1).Filter(func(s string) bool { return !strings.Contains(s, "$ref") }).Draw(t, "def") + `},"allOf":[` + schemas(3).Draw(t, "schema") + `]}`
		answer := values(3).Draw(t, "answer")
		if steps, spent := stepsOf(t, raw, answer); spent < steps {
			t.Fatalf("%s\n%s\ncounted %d of %d steps", raw, answer, spent, steps)
		}
	})
}

// Each keyword alone, so that what is counted too much of one doesn't hide another.
func TestMeter_CountsEachKeyword(t *testing.T) {
	const inner = `{"allOf":[{"minLength":0},{"minLength":0},{"minLength":0},{"minLength":0},{"minLength":0}]}`
	const draft7 = `"$schema":"http://json-schema.org/draft-07/schema#",`
	items, members := array(100, `"a"`), "{"+numbered(100, `"a#N":"a"`)+"}"
	for _, row := range []struct{ schema, answer string }{
		{`{"items":` + inner + `}`, items}, {`{"contains":` + inner + `}`, items}, {`{"prefixItems":[` + times(100, inner) + `]}`, items},
		{`{"unevaluatedItems":` + inner + `}`, items}, {`{` + draft7 + `"items":` + inner + `}`, items}, {`{` + draft7 + `"items":[` + times(100, inner) + `]}`, items},
		{`{` + draft7 + `"items":[true],"additionalItems":` + inner + `}`, items},
		{`{"properties":{` + numbered(100, `"a#N":`+inner) + `}}`, members}, {`{"patternProperties":{"a":` + inner + `}}`, members},
		{`{"additionalProperties":` + inner + `}`, members}, {`{"unevaluatedProperties":` + inner + `}`, members}, {`{"propertyNames":` + inner + `}`, members},
		{`{"dependentSchemas":{` + numbered(100, `"a#N":`+inner) + `}}`, members}, {`{` + draft7 + `"dependencies":{` + numbered(100, `"a#N":`+inner) + `}}`, members},
		{`{"allOf":[` + times(100, inner) + `]}`, `"a"`}, {`{"anyOf":[` + times(100, `{"allOf":[false,`+inner+`]}`) + `]}`, `"a"`}, {`{"oneOf":[` + times(100, `{"allOf":[false,`+inner+`]}`) + `]}`, `"a"`},
		{`{"not":` + inner + `}`, `"a"`}, {`{"if":` + inner + `,"then":` + inner + `}`, `"a"`}, {`{"if":false,"else":` + inner + `}`, `"a"`}, {`{"$ref":"#/$defs/a","$defs":{"a":` + inner + `}}`, `"a"`},
	} {
		if steps, spent := stepsOf(t, row.schema, row.answer); spent < steps || steps < 6 {
			t.Errorf("%s: counted %d of %d steps", clip(row.schema, 100), spent, steps)
		}
	}
}

// stepsOf are the steps of the library's own check, and how many are counted.
func stepsOf(t interface{ Fatal(...any) }, raw, answer string) (steps, spent int) {
	doc, err := parse(raw, schemaLimits)
	if err != nil {
		t.Fatal(raw, err)
	}
	const vocabulary = "https://penstock.invalid/count"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.AssertVocabs()
	c.UseRegexpEngine((&patternBudget{}).compile)
	c.RegisterVocabulary(&jsonschema.Vocabulary{URL: vocabulary, Compile: func(*jsonschema.CompilerContext, map[string]any) (jsonschema.SchemaExt, error) {
		return counted{&steps}, nil
	}})
	if err := c.AddResource(base, doc); err != nil {
		t.Fatal(raw, err)
	}
	root, err := c.Compile(base)
	if err != nil {
		t.Fatal(raw, err)
	}
	v, err := parse(answer, answerLimits)
	if err != nil {
		t.Fatal(answer, err)
	}
	const enough = 1 << 30
	m := meter{left: enough}
	m.visit(root, v, 0)
	_ = root.Validate(v)
	return steps, enough - m.left
}
