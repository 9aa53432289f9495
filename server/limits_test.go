package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/config"
	"penstock/server/openai"
	"penstock/server/web"
	"penstock/spawn"
)

func TestUnenforcedLimits(t *testing.T) {
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

// A wish that would come out as no limit at all, or as one the kernel refuses, is
// told before anything is started.
func TestLowerLimits(t *testing.T) {
	for _, row := range []struct {
		limits, param string
		says          []string
	}{
		{`{"memory_max":"4097MiB"}`, "limits.memory_max", []string{"4 GiB", "limits.memory_max"}},
		{`{"memory_max":"31MiB"}`, "limits.memory_max", []string{"31 MiB", "32 MiB"}},
		{`{"pids_max":65}`, "limits.pids_max", []string{"65", "64"}},
		{`{"cpu_max":"201%"}`, "limits.cpu_max", []string{"2.01", "2"}},
		{`{"cpu_max":"0.5%"}`, "limits.cpu_max", []string{"1%"}},
		{`{"cpu_max":0.00000001}`, "limits.cpu_max", []string{"1%"}},
		{`{"memory_max":"50%"}`, "limits.memory_max", []string{"512MiB"}},
	} {
		q, err := openai.DecodeChat([]byte(`{"model":"sh","messages":[{"role":"user","content":"x"}],"limits":`+row.limits+`}`), nil)
		if err == nil {
			l := limitsOf()
			l.CPUMax.Cores = 2
			_, err = lowerLimits(l, q.Limits)
		}
		var e *web.Error
		if !errors.As(err, &e) || e.Status != 400 || e.Param != row.param {
			t.Errorf("%s: %v, want a 400 of %s", row.limits, err, row.param)
			continue
		}
		for _, words := range row.says {
			if !strings.Contains(e.Message, words) {
				t.Errorf("%s: %q lacks %q", row.limits, e.Message, words)
			}
		}
	}
}

// A group that can't be made is the host's error alone, and nothing of
// the request is left.
func TestStartFailed_NoGroup(t *testing.T) {
	s := serve(t, nil)
	most := filepath.Join(s.healthNow().Isolation.Root, "runs", "cgroup.max.descendants")
	allow := func(n string) {
		if err := os.WriteFile(most, []byte(n), 0); err != nil {
			t.Fatal(err)
		}
	}
	allow("0")
	for _, stream := range []bool{false, true} {
		r := s.chat("sh", "echo never", stream, "")
		if r.code() != "start_failed" || r.status != 503 && !(stream && r.late()) || !strings.Contains(r.err.Message, "mkdir") {
			t.Errorf("status %d, error %+v, want 503 start_failed", r.status, r.err)
		}
	}
	h := s.ask("GET", "/health", "")
	if h.status != 503 || !strings.Contains(h.body, "groups") {
		t.Errorf("health is %d with no group to be made: %s", h.status, h.body)
	}
	if strings.Count(h.body, "/runs") > 0 {
		t.Errorf("health tells a path: %s", h.body)
	}
	allow("max")
	eventually(t, "groups can be made again", func() bool { return s.ask("GET", "/health", "").status == 200 })
	if r := s.chat("sh", "echo again", false, ""); r.text != "again\n" {
		t.Errorf("%+v", r)
	}
}
