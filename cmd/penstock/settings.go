package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock/cgroup/root"
	"penstock/cmd/penstock/manual"
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
		flag := f.VarPF(&keyValue{key: k.Name, kind: k.Type, into: s.flags}, flagName(k.Name), "", help)
		flag.Annotations = map[string][]string{manual.Setting: {k.Name}}
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
	} else if limit, ok := root.MemoryAbove(); ok {
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

// completeSettings tells the shell what the options that are settings may be.
// The errors would be those of an option that the command doesn't have.
func completeSettings(cmd *cobra.Command, s *settings, keys []config.Key) {
	_ = cmd.MarkFlagFilename("config", "toml")
	for _, k := range keys {
		if strings.HasSuffix(k.Name, "_dir") || strings.HasSuffix(k.Name, "_file") || strings.HasSuffix(k.Name, "_roots") {
			continue // the shell's own completion of paths
		}
		_ = cmd.RegisterFlagCompletionFunc(flagName(k.Name), cobra.FixedCompletions(keyValues(k), cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("set", func(_ *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return s.completeSet(typed)
	})
}

// keyValues are the values a key can have, where they are few.
func keyValues(k config.Key) []cobra.Completion {
	if k.Type == "boolean" {
		return []cobra.Completion{"true", "false"}
	}
	return k.OneOf
}

// completeSet completes a key, and after its "=" the value.
func (s *settings) completeSet(typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	clients, backends, images := s.names()
	var found []cobra.Completion
	for _, k := range config.AllKeys() {
		names := []string{""}
		switch {
		case strings.HasPrefix(k.Name, "clients."):
			names = clients
		case strings.HasPrefix(k.Name, "backends."):
			names = backends
		case strings.HasPrefix(k.Name, "images."):
			names = images
		}
		for _, name := range names {
			key := strings.TrimSuffix(strings.Replace(k.Name, "*", name, 1), "*") // a variable to set ends it
			if typed, ok := strings.CutPrefix(typed, key+"="); ok {
				return valuesWith(key+"=", keyValues(k), typed), cobra.ShellCompDirectiveDefault
			}
			if !strings.HasSuffix(key, ".") {
				key += "="
			}
			if strings.HasPrefix(key, typed) {
				found = append(found, cobra.CompletionWithDesc(key, k.Help))
			}
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// valuesWith are those values that go on as was typed, after their prefix.
func valuesWith(prefix string, values []cobra.Completion, typed string) []cobra.Completion {
	var found []cobra.Completion
	for _, v := range values {
		if strings.HasPrefix(v, typed) {
			found = append(found, prefix+v)
		}
	}
	return found
}

// names are the clients, backends and images of the configuration; in one that can't
// be read there are only the backends that are known.
func (s *settings) names() (clients, backends, images []string) {
	c, err := s.load()
	if err != nil {
		return nil, config.Known(), nil
	}
	return slices.Sorted(maps.Keys(c.Clients)), slices.Sorted(maps.Keys(c.Backends)), slices.Sorted(maps.Keys(c.Images))
}
