package main

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"penstock/cgroup"
	"penstock/cgroup/root"
)

func TestMain(m *testing.M) {
	if os.Getenv(withoutClone3) != "" {
		fmt.Fprintln(os.Stderr, execWithoutClone3())
		os.Exit(1)
	}
	if os.Args[0] == "/proc/self/exe" { // a nap of the self-test's
		os.Args[0] = "penstock"
	}
	testscript.Main(m, map[string]func(){
		"penstock": func() {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// TestScript plays whole user sessions.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			home := e.WorkDir + "/home"
			e.Setenv("HOME", home)
			e.Setenv("XDG_CONFIG_HOME", home+"/.config")
			e.Setenv("XDG_STATE_HOME", "")
			return os.Mkdir(home, 0o755)
		},
		Condition: func(name string) (bool, error) {
			if name != "daemon" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			host, err := root.Inspect(t.Context(), "penstock-script")
			return host.Supports(cgroup.Available), err
		},
	})
}
