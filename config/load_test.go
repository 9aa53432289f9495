package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestLoad_Defaults(t *testing.T) {
	s := newScene(t)
	c, err := Load(s.sources)
	if err != nil {
		t.Fatal(err)
	}
	want := Limits{
		MemoryMax: Size{Bytes: 2 * gib}, PidsMax: 512, CPUWeight: 100, Timeout: Duration{30 * time.Minute},
		Stall: Duration{10 * time.Minute}, Grace: Duration{2 * time.Second}, OutputMax: Size{Bytes: 64 * mib}, LineMax: Size{Bytes: 16 * mib},
	}
	if diff := cmp.Diff(want, c.Limits); diff != "" {
		t.Errorf("limits (-want +got):\n%s", diff)
	}
	if c.Budget.Memory.Bytes != 6*gib {
		t.Errorf("budget is %d, want 75%% of 8 GiB", c.Budget.Memory.Bytes)
	}
	if c.StateDir != s.dir+"/.local/state/penstock" || !cmp.Equal(c.WorkspaceRoots, []string{s.dir}) {
		t.Errorf("state %s, roots %v: not below HOME", c.StateDir, c.WorkspaceRoots)
	}
	for _, name := range append(Known(), "demo") {
		b, ok := c.Backends[name]
		if !ok || b.Configured {
			t.Errorf("%s: listed %v, configured %v", name, ok, b.Configured)
		}
		if found := name == "codex" || name == "demo"; found != (b.Missing == "") {
			t.Errorf("%s: missing is %q", name, b.Missing)
		}
	}
	if diff := cmp.Diff(Argv{"/usr/bin/penstock", "demo"}, c.Backends["demo"].Command); diff != "" {
		t.Error(diff)
	}
	if c.File != "" {
		t.Errorf("read %s, and there is none", c.File)
	}
}

func TestLoad_LaterSourceWins(t *testing.T) {
	s := newScene(t)
	s.sources.Environ = append(s.sources.Environ,
		"PENSTOCK_LIMITS_PIDS_MAX=20", "PENSTOCK_LIMITS_MEMORY_MAX=200M",
		"PENSTOCK_LISTEN=127.0.0.1:1,unix:/run/p",
		"PENSTOCK_BACKENDS_MY_TOOL_COMMAND=codex -a b",
		"PENSTOCK_BACKENDS_MY_TOOL_SET_ENV_KEEP_CASE=v",
		"PENSTOCK_BACKENDS_MY_TOOL_LIMITS_TIMEOUT=7s")
	s.sources.Flags = map[string]string{"limits.pids_max": "30", "backends.my-tool.limits.cpu_max": "150%", "clients.a.b.weight": "3"}
	c, err := s.load(t, "[limits]\npids_max = 10\nmemory_max = \"100M\"\ngrace = \"9s\"\n[backends.my-tool]\nkind = \"exec\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.PidsMax != 30 || c.Limits.MemoryMax.Bytes != 200*mib || c.Limits.Grace.Duration != 9*time.Second {
		t.Errorf("want flag 30, environment 200M, file 9s: %+v", c.Limits)
	}
	b := c.Backends["my-tool"]
	if diff := cmp.Diff(Argv{s.dir + "/bin/codex", "-a", "b"}, b.Command); diff != "" {
		t.Error(diff)
	}
	if b.SetEnv["KEEP_CASE"] != "v" || b.Limits.Timeout.Duration != 7*time.Second || b.Limits.CPUMax.Cores != 1.5 || b.Limits.PidsMax != 30 {
		t.Errorf("backend %+v", b)
	}
	if diff := cmp.Diff([]string{"127.0.0.1:1", "unix:/run/p"}, c.Listen); diff != "" {
		t.Error(diff)
	}
	if c.Clients["a.b"].Weight != 3 {
		t.Errorf("clients %+v", c.Clients)
	}
}

func TestLoad_BadEnvironmentAndFlags(t *testing.T) {
	tests := []struct {
		name string
		env  string
		flag [2]string
		want string
	}{
		{name: "unknown variable", env: "PENSTOCK_LISEN=x", want: `environment: PENSTOCK_LISEN: unknown variable (hint: did you mean PENSTOCK_LISTEN?)`},
		{name: "bad count", env: "PENSTOCK_BUDGET_MAX_RUNS=many", want: `environment: PENSTOCK_BUDGET_MAX_RUNS: "many" is not a whole number`},
		{name: "bad truth", env: "PENSTOCK_ISOLATION_SELF_TEST=maybe", want: `environment: PENSTOCK_ISOLATION_SELF_TEST: "maybe" is not a truth value (hint: write true or false)`},
		{name: "judged late", env: "PENSTOCK_LIMITS_PIDS_MAX=0", want: `environment: PENSTOCK_LIMITS_PIDS_MAX: must be from 1 to 4194304`},
		{name: "unknown flag", flag: [2]string{"limits.pid_max", "1"}, want: `flags: limits.pid_max: unknown key (hint: did you mean limits.pids_max?)`},
		{name: "bad flag", flag: [2]string{"queue.max_wait", "soon"}, want: `flags: queue.max_wait: "soon" is not a duration (hint: write "30s", "10m" or "2h")`},
		{name: "root only", flag: [2]string{"backends.codex.user", "root"}, want: `flags: backends.codex.user: only root can run a backend as "root" (hint: start the daemon as root, or leave user out)`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.sources.Host.UID = 1000
			s.sources.Environ = append(s.sources.Environ, tt.env)
			if tt.flag[0] != "" {
				s.sources.Flags = map[string]string{tt.flag[0]: tt.flag[1]}
			}
			_, err := Load(s.sources)
			if diff := cmp.Diff([]string{tt.want}, s.texts(err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLoad_SearchPath(t *testing.T) {
	s := newScene(t)
	first, last := filepath.Join(s.dir, "cd"), filepath.Join(s.dir, "xdg", "penstock")
	for dir, pids := range map[string]string{first: "11", last: "12"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte("[limits]\npids_max = "+pids), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.sources.Environ = append(s.sources.Environ, "XDG_CONFIG_HOME="+s.dir+"/xdg")
	if c, err := Load(s.sources); err != nil || c.Limits.PidsMax != 12 || c.File != filepath.Join(last, fileName) {
		t.Errorf("XDG: %v, %s, %v", c.Limits.PidsMax, c.File, err)
	}
	s.sources.Environ = append(s.sources.Environ, "CONFIGURATION_DIRECTORY="+first+":/other")
	if c, err := Load(s.sources); err != nil || c.Limits.PidsMax != 11 {
		t.Errorf("CONFIGURATION_DIRECTORY: %v, %v", c.Limits.PidsMax, err)
	}
	s.sources.File = filepath.Join(s.dir, "named.toml")
	_, err := Load(s.sources)
	if diff := cmp.Diff([]string{"DIR/named.toml: no such file or directory"}, s.texts(err)); diff != "" {
		t.Error(diff)
	}
}

// A percentage follows the limit above, of whichever kind; a size is cut to it.
func TestBudget_Under(t *testing.T) {
	for _, tt := range []struct {
		budget      Budget
		limit, host int64
		want        int64
	}{
		{Budget{Memory: Size{Bytes: 6 * gib, Percent: 75}}, 0, 8 * gib, 6 * gib},
		{Budget{Memory: Size{Bytes: 6 * gib, Percent: 75}}, 4 * gib, 8 * gib, 3 * gib},
		{Budget{Memory: Size{Bytes: 6 * gib, Percent: 75}}, 64 * gib, 8 * gib, 6 * gib},
		{Budget{Memory: Size{Bytes: 6 * gib, Percent: 75}}, 0, 0, 6 * gib},
		{Budget{Memory: Size{Bytes: 6 * gib, Percent: 75}}, 1 * mib, 0, MemoryFloor},
		{Budget{Memory: Size{Bytes: 6 * gib}}, 0, 4 * gib, 6 * gib},
		{Budget{Memory: Size{Bytes: 6 * gib}}, 16 * gib, 8 * gib, 6 * gib},
		{Budget{Memory: Size{Bytes: 6 * gib}}, 1000 * mib, 8 * gib, 950 * mib},
	} {
		if got := tt.budget.Under(tt.limit, tt.host); got/mib != tt.want/mib {
			t.Errorf("%+v under %d of %d: %d, want %d", tt.budget, tt.limit, tt.host, got, tt.want)
		}
	}
}

func TestLimits_Clipped(t *testing.T) {
	s := newScene(t)
	s.sources.Host.GroupMemoryBytes = gib
	c, err := s.load(t, "[backends.codex.limits]\nmemory_max = \"100M\"")
	if err != nil {
		t.Fatal(err)
	}
	if c.Budget.Memory.Bytes != 768*mib || c.Limits.MemoryMax.Bytes != 768*mib || !c.Limits.Clipped {
		t.Errorf("budget %d, cap %d, clipped %v: want 75%% of the group's GiB", c.Budget.Memory.Bytes, c.Limits.MemoryMax.Bytes, c.Limits.Clipped)
	}
	if b := c.Backends["codex"].Limits; b.Clipped || b.MemoryMax.Bytes != 100*mib {
		t.Errorf("a cap that was written is clipped: %+v", b)
	}
	if b := c.Backends["claude"].Limits; !b.Clipped {
		t.Errorf("an inherited cap is not clipped: %+v", b)
	}
}

func TestLoad_UnknownMemory(t *testing.T) {
	s := newScene(t)
	s.sources.Host.MemoryBytes = 0
	_, err := Load(s.sources)
	if got := s.texts(err); len(got) != 1 || !strings.Contains(got[0], "memory is unknown") {
		t.Errorf("got %q", got)
	}
}

func TestProblem_Caret(t *testing.T) {
	s := newScene(t)
	_, err := s.load(t, "[limits]\n\tpids_max = \t0 # none\n")
	want := "\n    \tpids_max = \t0 # none\n    \t           \t^"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %q, want the end %q", err, want)
	}
}

func TestDump(t *testing.T) {
	s := newScene(t)
	text, err := os.ReadFile(filepath.Join("testdata", "full.toml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.load(t, string(text))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := c.Dump(&b); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"correct-horse", "battery-staple", "hunter2"} {
		if strings.Contains(b.String(), secret) {
			t.Errorf("the dump tells %q", secret)
		}
	}
	golden := filepath.Join("testdata", "full.golden")
	got := strings.ReplaceAll(b.String(), s.dir, "DIR")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("dump (-want +got):\n%s", diff)
	}
	again, err := s.load(t, b.String())
	if err != nil {
		t.Fatalf("the dump does not load: %v", err)
	}
	ignore := cmp.FilterPath(func(p cmp.Path) bool { return strings.HasSuffix(p.String(), "SetEnv") }, cmp.Ignore())
	if diff := cmp.Diff(c, again, cmpopts.EquateEmpty(), ignore); diff != "" {
		t.Errorf("loaded again (-first +again):\n%s", diff)
	}
}

func TestLookPath(t *testing.T) {
	s := newScene(t)
	bin := s.dir + "/bin"
	tests := []struct{ program, path, want, err string }{
		{"codex", bin, bin + "/codex", ""},
		{"codex", "relative::" + bin, bin + "/codex", ""},
		{bin + "/codex", "", bin + "/codex", ""},
		{"plain", bin, "", "DIR/bin/plain is not executable"},
		{"dirprog", bin, "", "DIR/bin/dirprog is a directory"},
		{"nope", bin, "", "not found: nope"},
		{"nope", "", "", "not found: nope (PATH is not set)"},
		{"goose acp", bin, "", `not found: goose acp (hint: write a list: ["goose", "acp"])`},
		{"./codex", bin, "", "./codex: not absolute"},
		{bin + "/nope", "", bin + "/nope", "not found: DIR/bin/nope"},
		{"/dev/null", "", "/dev/null", "/dev/null is not a regular file"},
		{"", bin, "", "the program's name is empty"},
	}
	for _, tt := range tests {
		got, err := lookPath(tt.program, tt.path)
		texts := ""
		if err != nil {
			texts = strings.ReplaceAll(err.Error(), s.dir, "DIR")
		}
		if got != tt.want || texts != tt.err {
			t.Errorf("%q on %q: %q, %q; want %q, %q", tt.program, tt.path, got, texts, tt.want, tt.err)
		}
	}
}

func TestProblems(t *testing.T) {
	_, err := Load(Sources{File: "/nonexistent/penstock.toml", Host: Host{MemoryBytes: gib}})
	var p Problems
	if !errors.As(err, &p) || len(p) != 1 || p[0].File != "/nonexistent/penstock.toml" {
		t.Errorf("got %#v", err)
	}
}
