package config

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
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
	if c.Budget.Percent > 0 {
		out = append(out, "budget.memory is "+formatSize(c.Budget.Memory)+" now, and follows the smallest limit above.")
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

type shown struct {
	Listen         []string                `toml:"listen"`
	StateDir       string                  `toml:"state_dir"`
	TokensFile     string                  `toml:"tokens_file"`
	AllowedHosts   []string                `toml:"allowed_hosts"`
	AllowedOrigins []string                `toml:"allowed_origins"`
	WorkspaceRoots []string                `toml:"workspace_roots"`
	DrainTimeout   string                  `toml:"drain_timeout"`
	FirstByteAfter string                  `toml:"first_byte_after"`
	Isolation      shownIsolation          `toml:"isolation"`
	Budget         shownBudget             `toml:"budget"`
	Keep           shownKeep               `toml:"keep"`
	Queue          shownQueue              `toml:"queue"`
	Limits         shownLimits             `toml:"limits"`
	Translate      shownTranslate          `toml:"translate"`
	Log            shownLog                `toml:"log"`
	Clients        map[string]shownClient  `toml:"clients,omitempty"`
	Backends       map[string]shownBackend `toml:"backends,omitempty"`
}

type shownIsolation struct {
	Mode            string   `toml:"mode"`
	SelfTest        bool     `toml:"self_test"`
	Hide            []string `toml:"hide"`
	ReadOnly        []string `toml:"read_only"`
	AbstractSockets bool     `toml:"abstract_sockets"`
}

type shownBudget struct {
	Memory     string `toml:"memory"`
	MaxRuns    int    `toml:"max_runs"`
	Overcommit bool   `toml:"overcommit"`
}

type shownKeep struct {
	Age  string `toml:"age"`
	Runs int    `toml:"runs"`
	Size string `toml:"size"`

	MinFree string `toml:"min_free"`
}

type shownQueue struct {
	MaxWaiting int    `toml:"max_waiting"`
	MaxWait    string `toml:"max_wait"`
}

type shownTranslate struct {
	SidecarHost string   `toml:"sidecar_host"`
	Aliases     []string `toml:"aliases"`
}

type shownLog struct {
	Level  string `toml:"level"`
	Format string `toml:"format"`
}

type shownClient struct {
	MaxRuns      int  `toml:"max_runs"`
	ReservedRuns int  `toml:"reserved_runs"`
	Weight       int  `toml:"weight"`
	Operator     bool `toml:"operator"`
}

type shownLimits struct {
	MemoryMax  string `toml:"memory_max"`
	MemoryHigh string `toml:"memory_high"`
	SwapMax    string `toml:"swap_max"`
	PidsMax    int64  `toml:"pids_max"`
	CPUMax     string `toml:"cpu_max"`
	CPUWeight  uint64 `toml:"cpu_weight"`
	Timeout    string `toml:"timeout"`
	Stall      string `toml:"stall_timeout"`
	Grace      string `toml:"grace"`
	OutputMax  string `toml:"output_max"`
	LineMax    string `toml:"line_max"`
}

type shownBackend struct {
	Kind         string            `toml:"kind"`
	Command      []string          `toml:"command,omitempty"`
	DefaultModel string            `toml:"default_model,omitempty"`
	Models       []string          `toml:"models,omitempty"`
	Aliases      []string          `toml:"aliases,omitempty"`
	Env          []string          `toml:"env,omitempty"`
	SetEnv       map[string]string `toml:"set_env,omitempty"`
	ExtraArgs    []string          `toml:"extra_args,omitempty"`
	Permissions  string            `toml:"permissions"`
	Home         string            `toml:"home"`
	HomeSeed     string            `toml:"home_seed,omitempty"`
	Cwd          string            `toml:"cwd,omitempty"`
	User         string            `toml:"user,omitempty"`
	Limits       shownLimits       `toml:"limits"`
}
