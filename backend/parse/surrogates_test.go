package parse

import (
	"encoding/json"
	"testing"
	"unicode/utf8"
)

// What is no half is read as encoding/json reads it, wherever it is cut.
func FuzzWords(f *testing.F) {
	for _, seed := range []string{`"a"`, `"\ud83d\ude00"`, `"\ud83d"`, `"\\ud83d"`, `"\"\u0041"`, "\"\xff\"", `null`, `7`, `"\u`, `"í"`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		var w struct{ W JSONText }
		var s struct{ W string }
		line := []byte(`{"W":` + raw + `}`)
		if json.Unmarshal(line, &s) != nil || json.Unmarshal(line, &w) != nil {
			return
		}
		if got := WholeText(string(w.W)); got != s.W || !utf8.ValidString(got) {
			t.Errorf("%s: %q, encoding/json has %q", raw, got, s.W)
		}
		for cut := range len(w.W) {
			var j joiner
			if got := j.join(string(w.W[:cut])) + j.join(string(w.W[cut:])) + j.rest(); utf8.ValidString(string(w.W[:cut])) && got != s.W {
				t.Errorf("%s cut at %d: %q, want %q", raw, cut, got, s.W)
			}
		}
	})
}
