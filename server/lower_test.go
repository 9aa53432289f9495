package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/server/openai"
	"penstock/server/web"
)

// A wish that would come out as no limit at all, or as one the kernel refuses, is
// told before anything is started.
func TestWishesAreTheKernels(t *testing.T) {
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
		q, err := openai.Decode([]byte(`{"model":"sh","messages":[{"role":"user","content":"x"}],"limits":`+row.limits+`}`), nil)
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

// A group that can't be made is nobody's error but the host's, and nothing of
// the request is left.
func TestHostThatRefusesAGroup(t *testing.T) {
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
