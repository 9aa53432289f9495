package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"penstock/config"
)

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
	clients, backends := s.names()
	var found []cobra.Completion
	for _, k := range config.AllKeys() {
		names := []string{""}
		switch {
		case strings.HasPrefix(k.Name, "clients."):
			names = clients
		case strings.HasPrefix(k.Name, "backends."):
			names = backends
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

// names are the clients and backends of the configuration; in one that can't
// be read there are only the backends that are known.
func (s *settings) names() (clients, backends []string) {
	c, err := s.load()
	if err != nil {
		return nil, config.Known()
	}
	return slices.Sorted(maps.Keys(c.Clients)), slices.Sorted(maps.Keys(c.Backends))
}
