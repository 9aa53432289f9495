// Command clis writes what the real command line agents need in a guest of
// vm-clis, as an operator would: a HOME with their settings, the keys for
// /etc/default/penstock and the backends for penstock.toml.
//
//	clis OUT PLACE MODEL    PLACE is test/clis as the guest sees it, MODEL the
//	                        model server's URL
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock/test/clis"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "clis:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("want OUT PLACE MODEL, not %q", args)
	}
	out, place, url := args[0], args[1], args[2]
	if err := clis.Seed(filepath.Join(out, "home"), url); err != nil {
		return err
	}
	commands, err := clis.Commands(place)
	if err != nil {
		return err
	}
	backends, env := clis.Backends(place, url, commands)
	delete(env, "PATH")
	var keys []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		keys = append(keys, name+"="+env[name]+"\n")
	}
	for name, text := range map[string]string{"keys": strings.Join(keys, ""), "backends.toml": backends} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}
