package schema

import (
	"strings"
	"testing"
)

func TestFind(t *testing.T) {
	const one = `{"a":[1,"}"]}`
	for _, row := range []struct{ name, answer, json, wrong string }{
		{"alone", one, one, ""},
		{"white space and a byte order mark", "\ufeff \n" + one + "\r\n", one, ""},
		{"a scalar", ` "x" `, `"x"`, ""},
		{"a fence", "```json\n" + one + "\n```", one, ""},
		{"a fence without a label", "```\n" + one + "\n```\n", one, ""},
		{"a scalar in a fence", "~~~\n3\n~~~", "3", ""},
		{"a longer fence", "Here:\n````json\n" + one + "\n````", one, ""},
		{"a fence in words", "I looked at [1] and `[]string`.\n\n  ```json\n  " + one + "\n  ```\n\nDone {}.", one, ""},
		{"a fence in a string", `{"md":"` + "```json\\n{}\\n```" + `"}`, `{"md":"` + "```json\\n{}\\n```" + `"}`, ""},
		{"code beside it", "```go\nfunc f() { return }\n```\n```json\n" + one + "\n```", one, ""},
		{"a fence on one line", "```" + one + "```", one, ""},
		{"a fence that isn't closed", "```json\n" + one, one, ""},
		{"words before", "Sure! " + one, one, ""},
		{"words after", one + " That's it.", one, ""},
		{"brackets in words", "- [ ] one\n- [x] two\nSee [docs](x), [1, 2] and map[string]int{}.\n" + one, one, ""},
		{"braces in words", "Use {name} and {{x}}: " + one, one, ""},
		{"a list in words", `They are ["a","b"].`, `["a","b"]`, ""},

		{"nothing", " \n\ufeff", "", "is empty"},
		{"words", "I can't help with that.", "", `has no JSON: it begins "I can't help with that."`},
		{"a list of numbers in words", "They are [1, 2].", "", "has no JSON"},
		{"two", one + "\n" + one, "", "more than one"},
		{"two in words", "Either " + one + " or " + one, "", "more than one"},
		{"two in fences", "```json\n1\n```\n```json\n2\n```", "", "more than one"},
		{"one in a fence, one beside it", "For " + one + ":\n```json\n" + one + "\n```", "", "more than one"},
		{"cut", `{"a":[1,`, "", "is no JSON: line 1, column 9: the JSON ends where a value has to be"},
		{"cut in a string", `{"a":"x`, "", "is no JSON: line 1, column 8: the JSON ends within a string"},
		{"cut in a fence", "```json\n{\"a\":\n```", "", "is no JSON: line 1, column 6: "},
		{"broken, with a whole one in it", `{"a":{"b":1} oops}`, "", "is no JSON: line 1, column 14: 'o' where a comma or } has to be"},
		{"broken, and a whole one after it", `{"a":1,} ` + one, "", "is no JSON: line 1, column 8: '}' where a key has to be"},
		{"broken in a fence, and a whole one", "```json\n{\"a\":1,}\n```\n" + one, "", "is no JSON"},
		{"a key twice", `{"a":1,"b":{"c":1,"\u0063":2}}`, "", `is no JSON: line 1, column 19: the key "c" is there twice`},
		{"NaN", `{"a":NaN}`, "", "is no JSON: line 1, column 6: 'N' where a value has to be"},
		{"NaN alone", `NaN`, "", "has no JSON"},
		{"single quotes", `{'a':1}`, "", "has no JSON"},
		{"comments", "{\"a\":1, // one\n\"b\":2}", "", "is no JSON: line 1, column 9: '/' where a key has to be"},
		{"deep", strings.Repeat("[", 200) + strings.Repeat("]", 200), "", "is no JSON: line 1, column 102: nested deeper than 100"},
		{"deep enough", strings.Repeat("[", 100) + strings.Repeat("]", 100), strings.Repeat("[", 100) + strings.Repeat("]", 100), ""},
		{"wide", "[" + strings.Repeat("1,", 100_000) + "1]", "", "is no JSON: line 1, column 200000: more than 100000 values"},
		{"a number without end", "[" + strings.Repeat("9", 200) + "]", "", "has no JSON"},
		{"a number beyond use", `{"a":1e1000000}`, "", "is no JSON: line 1, column 6: a number beyond 128 digits or an exponent of 400"},
	} {
		found, err := Find(row.answer)
		switch {
		case err != nil && (row.wrong == "" || !strings.Contains(err.Error(), row.wrong)):
			t.Errorf("%s: %v, want %q", row.name, err, row.wrong)
		case err == nil && (row.wrong != "" || found.JSON != row.json || found.Bare != (trim(row.answer) == row.json)):
			t.Errorf("%s: %.100q, bare %v; want %.100q, %s", row.name, found.JSON, found.Bare, row.json, row.wrong)
		}
	}
}

func TestParse_IsStrict(t *testing.T) {
	for _, text := range []string{
		"", " ", "{", "[", "[1,]", "{,}", `{"a"}`, `{"a":}`, `{a:1}`, "[1 2]", "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1", "tru", "nul", "True",
		`"`, `"\x"`, `"\u12"`, "\"\n\"", "\"\t\"", `"\`, "1 1", "[]]", "\u00a01", "'a'", "[1,,2]", `{"a":1,"a":1}`, "/* */1", "Infinity", "-Infinity",
	} {
		if v, err := parse(text, answerLimits); err == nil {
			t.Errorf("%q is taken for %v", text, v)
		}
	}
	for _, text := range []string{"0", "-0", "-0.5e-10", "1E5", `""`, `"\u00e9\"\\\/\b\f\n\r\t"`, "[ ]", "{ }", " [ 1 , { \"a\" : null } ] ", `"é"`, "\"\u2028\"", `{"":{}}`} {
		if _, err := parse(text, answerLimits); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
