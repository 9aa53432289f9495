package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"penstock/admit"
	"penstock/backend/kinds"
	"penstock/config"
	"penstock/run"
	"penstock/server/health"
	"penstock/server/web"
)

// The demo backend is the daemon's own program; a program of unknown kind isn't asked.
func TestBackends_ProbeTargets(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{
		"claude": {Name: "claude", Kind: "claude", Command: []string{"/bin/true"}}, "demo": {Name: "demo", Kind: "demo", Missing: "gone"},
		"any": {Name: "any", Kind: "exec", Command: []string{"/bin/true"}, Configured: true},
	}}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range all.probeTargets("v9") {
		got = append(got, fmt.Sprint(b.Name, " ", b.Version, " ", b.HasVersion, b.Missing, b.Configured))
	}
	if want := []string{"any  false false true", "claude  true false false", "demo v9 false true false"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// What a model's CLI is, and whether that is known to work, from memory.
func TestModels_Versions(t *testing.T) {
	c := config.Config{Backends: map[string]config.Backend{"claude": {Name: "claude", Kind: "claude", Models: []string{"opus"}, Command: []string{"/bin/true"}}, "any": {Name: "any", Kind: "exec", Command: []string{"/bin/true"}}}}
	all, err := newBackends(c)
	if err != nil {
		t.Fatal(err)
	}
	said, fails := "2.1.0 (Claude Code)", error(nil)
	d := &daemon{backends: all, probes: health.NewProbes(all.probeTargets("v9"), func(context.Context, run.Probe) (string, error) { return said, fails })}
	tell := func() []model {
		d.probes.AskAll(t.Context())
		return d.models()
	}
	for _, m := range d.models() {
		if m.Version != "" || m.TooOld {
			t.Errorf("before it was asked: %+v", m)
		}
	}
	for _, m := range tell() {
		if ours := strings.HasPrefix(m.ID, "claude"); m.TooOld != ours || (m.Version == said) != ours || (m.Oldest == kinds.Oldest("claude")) != ours {
			t.Errorf("%+v", m)
		}
	}
	said, fails = "", errors.New("no answer within 10s")
	if m := tell()[1]; !m.TooOld || m.Version != "2.1.0 (Claude Code)" {
		t.Errorf("a probe that failed made it unknown: %+v", m)
	}
	said, fails = "9.0.0 (Claude Code)", nil
	if m := tell()[1]; m.TooOld || m.Version != said {
		t.Errorf("after an update: %+v", m)
	}
}

// What can be asked of each kind of backend is in the handbook's table, by the names that the API has.
func TestCapabilities_Documented(t *testing.T) {
	handbook, err := os.ReadFile("../docs/backends.md")
	if err != nil {
		t.Fatal(err)
	}
	var names, rows []string
	for _, kind := range kinds.All() {
		a, err := newBackend(config.Backend{Name: kind.Name, Kind: kind.Name, Command: []string{"/bin/true"}})
		if err != nil {
			t.Fatal(err)
		}
		told := a.capabilities()
		for _, word := range told.Efforts {
			if err := a.effort(word); err != nil {
				t.Errorf("%s: %v", kind.Name, err)
			}
		}
		row := kind.Name
		names = []string{"kind"}
		for field, value := range reflect.ValueOf(told).Fields() {
			name := field.Tag.Get("json")
			if name == "dialects" { // not the backend's
				continue
			}
			names = append(names, "`"+name+"`")
			switch v := value.Interface().(type) {
			case bool:
				row += " | " + map[bool]string{true: "yes", false: "no"}[v]
			case string:
				row += " | " + v
			case []string:
				row += " | " + cmp.Or(strings.Join(v, ", "), "-")
			}
		}
		rows = append(rows, row)
	}
	for _, row := range append([]string{strings.Join(names, " | ")}, rows...) {
		if !strings.Contains(string(handbook), "\n| "+row+" |\n") {
			t.Errorf("docs/backends.md has no row\n| %s |", row)
		}
	}
}

// An Anthropic client gets the part of the list that it asks for, and is told whether there is more that way.
func TestPageOf(t *testing.T) {
	var all []model
	for _, id := range []string{"a", "b", "c", "d"} {
		all = append(all, model{ID: id})
	}
	for _, row := range []struct {
		query, want string
		more        bool
		param       string
	}{
		{"", "abcd", false, ""},
		{"limit=4", "abcd", false, ""},
		{"limit=3", "abc", true, ""},
		{"after_id=b", "cd", false, ""},
		{"after_id=a&limit=2", "bc", true, ""},
		{"after_id=d", "", false, ""},
		{"before_id=c", "ab", false, ""},
		{"before_id=d&limit=2", "bc", true, ""},
		{"before_id=a", "", false, ""},
		{"limit=0", "", false, "limit"},
		{"limit=1001", "", false, "limit"},
		{"limit=many", "", false, "limit"},
		{"after_id=x", "", false, "after_id"},
		{"before_id=x", "", false, "before_id"},
		{"before_id=b&after_id=c", "", false, "before_id"},
	} {
		query, err := url.ParseQuery(row.query)
		if err != nil {
			t.Fatal(err)
		}
		page, more, err := pageOf(all, query)
		got := ""
		for _, m := range page {
			got += m.ID
		}
		refused, _ := errors.AsType[*web.Error](err)
		if got != row.want || more != row.more || (refused != nil) != (row.param != "") || refused != nil && refused.Param != row.param {
			t.Errorf("%s: %s, more %v, %v", row.query, got, more, err)
		}
	}
}

func TestClients_MaxRuns(t *testing.T) {
	s := serve(t, func(c *config.Config) {
		c.Clients = map[string]config.Client{"anonymous": {MaxRuns: 1, Weight: 1}}
	})
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	for range 2 {
		ended.Go(func() {
			if resp, err := s.do(ctx, "POST", "/v1/chat/completions", chatBody("sh", "sleep 300", false, "")); err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
	eventually(t, "one runs and one waits", func() bool {
		q := s.healthNow().Queue
		if q.Running > 1 {
			t.Errorf("%d runs of a client with max_runs = 1", q.Running)
			return true
		}
		return q.Running == 1 && q.Waiting == 1
	})
	cancel()
	ended.Wait()
}

func TestGateClients(t *testing.T) {
	c := config.Config{Clients: map[string]config.Client{"1000": {MaxRuns: 2, Weight: 1}, "alice": {MaxRuns: 3, ReservedRuns: 1, Weight: 7}}}
	want := map[string]admit.Client{"uid:1000": {MaxRuns: 2, Weight: 1}, "alice": {MaxRuns: 3, Reserved: 1, Weight: 7}}
	if diff := gocmp.Diff(want, gateClients(c)); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}
