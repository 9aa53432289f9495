package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/pelletier/go-toml/v2"
)

// Changed names the dotted keys in which two configurations differ, sorted.
// "tokens" stands for the content of the tokens file.
func Changed(was, is Config) ([]string, error) {
	old, err := was.flat()
	if err != nil {
		return nil, err
	}
	now, err := is.flat()
	if err != nil {
		return nil, err
	}
	maps.DeleteFunc(old, func(key string, v any) bool {
		other, there := now[key]
		if same := there && reflect.DeepEqual(v, other); same {
			delete(now, key)
			return true
		}
		return false
	})
	maps.Copy(old, now)
	return slices.Sorted(maps.Keys(old)), nil
}

// flat is every shown value by its dotted key, with the secrets the file would redact.
func (c Config) flat() (map[string]any, error) {
	text, err := toml.Marshal(c.shown())
	if err != nil {
		return nil, fmt.Errorf("compare configuration: %w", err)
	}
	var tree map[string]any
	if err := toml.Unmarshal(text, &tree); err != nil {
		return nil, fmt.Errorf("compare configuration: %w", err)
	}
	out := map[string]any{"tokens": c.Tokens}
	flatten(out, nil, tree)
	for name, b := range c.Backends {
		for variable, v := range b.SetEnv {
			out[join([]string{"backends", name, "set_env", variable})] = v
		}
	}
	return out, nil
}

func flatten(into map[string]any, path []string, tree map[string]any) {
	for name, v := range tree {
		here := append(slices.Clone(path), name)
		if below, ok := v.(map[string]any); ok {
			flatten(into, here, below)
			continue
		}
		into[join(here)] = v
	}
}
