package config

import (
	"os"
	"path/filepath"
	"testing"
)

// FuzzDocument feeds whole files: whatever they hold, there is an answer, and
// every problem has a place in the file.
func FuzzDocument(f *testing.F) {
	full, err := os.ReadFile(filepath.Join("testdata", "full.toml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(full))
	f.Add("[[budget]]\n[limits.x]\na.b = { c = [1, {d = 2}] }\n\"\" = 1\r\n[backends.\"\"]")
	f.Add("listen = \"\"\"\nx\"\"\"\nbackends = { a = { limits = {} } }")
	f.Fuzz(func(t *testing.T, text string) {
		l := newLoader(Host{MemoryBytes: 8 * gib})
		l.readDocument("f", []byte(text))
		for _, p := range l.problems {
			if p.File != "f" || p.Line < 1 || p.Col < 1 {
				t.Fatalf("a problem without a place: %+v", p)
			}
		}
	})
}
