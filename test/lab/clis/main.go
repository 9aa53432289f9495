// Command clis writes what the real command line agents need in a guest of
// vm-clis, as an operator would: a HOME with their settings, the keys for
// /etc/default/penstock and the backends for penstock.toml.
//
//	clis OUT PLACE MODEL    PLACE is test/clis as the guest sees it, MODEL the
//	                        model server's URL
package main

import (
	"encoding/json"
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
	var keys, names []string
	for _, name := range slices.Sorted(maps.Keys(clis.Env(url))) {
		if strings.HasSuffix(name, "_API_KEY") || strings.HasSuffix(name, "_BASE_URL") {
			names = append(names, name)
			keys = append(keys, name+"="+clis.Env(url)[name]+"\n")
		}
	}
	commands, err := clis.Commands(place)
	if err != nil {
		return err
	}
	var backends strings.Builder
	for _, name := range slices.Sorted(maps.Keys(commands)) {
		fmt.Fprintf(&backends, "[backends.%s]\ncommand = %s\ndefault_model = %q\nenv = %s\n",
			name, list(commands[name]), clis.Models()[name], list(names))
	}
	for name, text := range map[string]string{"keys": strings.Join(keys, ""), "backends.toml": backends.String()} {
		if err := os.WriteFile(filepath.Join(out, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// list is a TOML array of strings.
func list(words []string) string {
	text, _ := json.Marshal(words) // strings always can be
	return string(text)
}
