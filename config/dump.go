package config

import (
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"penstock/internal/bytesize"
)

// Redacted stands for every value that may be a secret.
const Redacted = "(redacted)"

// Dump writes the effective configuration as TOML that Load reads again. The
// values of set_env are redacted; tokens are not in it.
func (c Config) Dump(w io.Writer) error {
	from := c.File
	if from == "" {
		from = "no file"
	}
	if _, err := fmt.Fprintf(w, "# Effective configuration (%s, environment and flags over the defaults).\n", from); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	for _, line := range c.remarks() {
		if _, err := fmt.Fprintln(w, "# "+line); err != nil {
			return fmt.Errorf("write configuration: %w", err)
		}
	}
	if err := toml.NewEncoder(w).Encode(c.shown()); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// remarks are what the keys themselves can't tell.
func (c Config) remarks() []string {
	var out []string
	if c.Budget.Memory.Percent > 0 {
		out = append(out, "budget.memory is "+bytesize.Format(c.Budget.Memory.Bytes)+" now, and follows the smallest limit above.")
	}
	if c.Limits.Clipped {
		out = append(out, "limits.memory_max is the budget: the default is larger.")
	}
	if len(c.Tokens) > 0 {
		names := make([]string, 0, len(c.Tokens))
		for _, t := range c.Tokens {
			names = append(names, t.Name)
		}
		out = append(out, "tokens: "+strings.Join(names, ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		if b := c.Backends[name]; b.Missing != "" {
			out = append(out, fmt.Sprintf("backend %s is missing: %s", name, b.Missing))
		}
	}
	return out
}

// shown is the configuration as a file would have it. Backends that are only
// known by name are left out: writing them down would configure them.
func (c Config) shown() Config {
	for _, list := range []*[]string{&c.AllowedHosts, &c.AllowedOrigins, &c.WorkspaceRoots, &c.Isolation.Hide, &c.Isolation.ReadOnly, &c.Attachments.FetchHosts, &c.Translate.Aliases} {
		if *list == nil {
			*list = []string{} // nil has no form in TOML
		}
	}
	c.Backends = maps.Clone(c.Backends)
	maps.DeleteFunc(c.Backends, func(_ string, b Backend) bool { return !b.Configured })
	for name, b := range c.Backends {
		if b.Kind == "demo" {
			b.Command = nil
		}
		b.SetEnv = maps.Clone(b.SetEnv)
		for variable := range b.SetEnv {
			b.SetEnv[variable] = Redacted
		}
		c.Backends[name] = b
	}
	return c
}

// Changed names the dotted keys in which two configurations differ, sorted.
// "tokens" stands for the content of the tokens file.
func Changed(was, is Config) []string {
	old, now := was.flat(), is.flat()
	changed := map[string]bool{"tokens": !reflect.DeepEqual(was.Tokens, is.Tokens)}
	for key := range old {
		_, there := now[key]
		changed[key] = !there || old[key] != now[key]
	}
	for key := range now {
		if _, there := old[key]; !there {
			changed[key] = true
		}
	}
	maps.DeleteFunc(changed, func(_ string, yes bool) bool { return !yes })
	return slices.Sorted(maps.Keys(changed))
}

// flat is every shown value by its dotted key, as text; variables to set are of
// backends that are not shown as well, and in clear.
func (c Config) flat() map[string]string {
	out := map[string]string{}
	each(reflect.ValueOf(c.shown()), "", func(key string, v reflect.Value) {
		out[key] = fmt.Sprintf("%#v", v.Interface())
		if m, ok := v.Interface().(encoding.TextMarshaler); ok {
			text, err := m.MarshalText()
			out[key] = fmt.Sprintf("%s %v", text, err)
		}
	})
	for name, b := range c.Backends {
		for variable, v := range b.SetEnv {
			out["backends."+name+".set_env."+variable] = v
		}
	}
	return out
}

// GroupName names the daemon's subtree of groups. It is stable for one state
// directory, so that a later daemon, and reap, find what was left.
func (c Config) GroupName() string {
	sum := sha256.Sum256([]byte(c.StateDir))
	return "penstock-" + hex.EncodeToString(sum[:4])
}
