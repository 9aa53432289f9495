package provider

import (
	"testing"

	"penstock/backend"
)

// As node 22 takes NODE_OPTIONS apart (verified with one of each).
func TestNodeOptions_Quoted(t *testing.T) {
	for dir, want := range map[string]string{
		"/run/a":     `--require="/run/a/provider.cjs"`,
		"/run/a b":   `--require="/run/a b/provider.cjs"`,
		`/run/a"b\c`: `--require="/run/a\"b\\c/provider.cjs"`,
		"/run/é\t":   "--require=\"/run/é\t/provider.cjs\"",
	} {
		if got := NodeOptions(backend.Request{Dir: dir}); got != want {
			t.Errorf("%q: %s, want %s", dir, got, want)
		}
	}
	if got, want := NodeOptions(backend.Request{Dir: "/d", MemoryMax: 2 << 30}), `--require="/d/provider.cjs" --max-old-space-size=1536`; got != want {
		t.Errorf("with a memory limit: %s, want %s", got, want)
	}
}
