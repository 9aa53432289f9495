package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cgroup"
	"penstock/config"
)

// settings are the flags that are configuration.
type settings struct {
	file  string
	flags map[string]string
	// groupMemory is the group's limit where that isn't this process's; see dryRun.
	groupMemory *int64
}

// addSettings gives a subcommand --config, a flag for each key of the daemon
// as a whole, and --set for the keys that hold a name.
func addSettings(cmd *cobra.Command) *settings {
	var all []string
	for _, k := range config.Keys() {
		all = append(all, k.Name)
	}
	return addFewSettings(cmd, all...)
}

// addFewSettings has flags for the keys named only; --set takes any other.
func addFewSettings(cmd *cobra.Command, keys ...string) *settings {
	s := &settings{flags: map[string]string{}}
	f := cmd.Flags()
	f.StringVar(&s.file, "config", "", "configuration `file`; must exist")
	var shown []config.Key
	for _, k := range config.Keys() {
		if !slices.Contains(keys, k.Name) {
			continue
		}
		shown = append(shown, k)
		help := k.Help
		if k.Default != "" {
			help += " (default " + k.Default + ")"
		}
		f.Var(&keyValue{key: k.Name, kind: k.Type, into: s.flags}, flagName(k.Name), help)
	}
	f.Var(&anyKey{into: s.flags}, "set", "any other setting, as `key=value`, such as backends.claude.home=private")
	completeSettings(cmd, s, shown)
	return s
}

// flagName is the option of a key.
func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }

// load reads the whole configuration for this host.
func (s *settings) load() (config.Config, error) {
	host, err := config.ReadHost()
	if err != nil {
		return config.Config{}, fmt.Errorf("read host: %w", err)
	}
	if s.groupMemory != nil {
		host.GroupMemoryBytes = *s.groupMemory
	} else if limit, ok := cgroup.MemoryAbove(); ok {
		host.GroupMemoryBytes = limit.N
	}
	return config.Load(config.Sources{File: s.file, Environ: os.Environ(), Flags: s.flags, Host: host})
}

// keyValue is the flag of one key.
type keyValue struct {
	key  string
	kind string // of the value, for the help
	into map[string]string
}

func (v *keyValue) String() string     { return "" }
func (v *keyValue) Type() string       { return v.kind }
func (v *keyValue) Set(s string) error { v.into[v.key] = s; return nil }

// anyKey is --set.
type anyKey struct{ into map[string]string }

func (v *anyKey) String() string { return "" }
func (v *anyKey) Type() string   { return "key=value" }
func (v *anyKey) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok || key == "" {
		return fmt.Errorf("%q: want key=value", s)
	}
	v.into[key] = value
	return nil
}
