package server

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/config"
	"penstock/spawn"
)

func TestUnheldCaps(t *testing.T) {
	kernel := spawn.Enforced{Memory: "kernel", Pids: "kernel", Kill: "kernel", CPU: "kernel"}
	watch := spawn.Enforced{Memory: "watch", Pids: "watch", Kill: "kernel"}
	// Two backends; change is what was written for all, and for one alone.
	load := func(all, one func(*config.Limits)) config.Config {
		c := config.Config{Limits: limitsOf(), Backends: map[string]config.Backend{}}
		all(&c.Limits)
		for _, name := range []string{"claude", "pi"} {
			c.Backends[name] = config.Backend{Name: name, Limits: c.Limits}
		}
		b := c.Backends["pi"]
		one(&b.Limits)
		c.Backends["pi"] = b
		return c
	}
	none := func(*config.Limits) {}
	everything := func(l *config.Limits) { l.CPUMax.Cores, l.CPUWeight, l.MemoryHigh.Bytes = 2, 300, 1<<30 }
	tests := []struct {
		name     string
		all, one func(*config.Limits)
		held     spawn.Enforced
		want     []string
	}{
		{"defaults", none, none, watch, nil},
		{"kernel holds all", everything, none, kernel, nil},
		{"default is named once, as itself", everything, none, watch, []string{"limits.cpu_max", "limits.cpu_weight", "limits.memory_high"}},
		{"backend's own", none, everything, watch, []string{"backends.pi.limits.cpu_max", "backends.pi.limits.cpu_weight", "backends.pi.limits.memory_high"}},
		{"only cpu is missing", everything, none, spawn.Enforced{Memory: "kernel"}, []string{"limits.cpu_max", "limits.cpu_weight"}},
		{"a weight of 100 is none", everything, func(l *config.Limits) { *l = limitsOf() }, spawn.Enforced{Memory: "kernel", CPU: "kernel"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, u := range UnenforcedLimits(load(tt.all, tt.one), tt.held) {
				got = append(got, u.Key)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}
