package openapitest

import (
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
)

// Main runs a package's tests with these transports held against the document:
// what is not as documented is shown when it is found, once, and fails the run.
func Main(m *testing.M, transports ...*http.RoundTripper) int {
	d, err := New()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var mu sync.Mutex
	found := map[string]bool{}
	report := func(err error) {
		mu.Lock()
		defer mu.Unlock()
		if !found[err.Error()] {
			found[err.Error()] = true
			fmt.Printf("--- FAIL: undocumented: %s\n", err)
		}
	}
	for _, t := range transports {
		*t = d.Transport(*t, report)
	}
	code := m.Run()
	mu.Lock()
	defer mu.Unlock()
	if len(found) > 0 {
		return 1
	}
	return code
}
