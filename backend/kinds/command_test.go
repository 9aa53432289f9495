package kinds

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/backend"
)

func commandOf(t *testing.T, c backend.Config, r backend.Request) backend.Command {
	t.Helper()
	b, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	command, err := b.Command(r)
	if err != nil {
		t.Fatal(err)
	}
	return command
}

func TestKinds_Argv(t *testing.T) {
	claude := []string{"-p", "--output-format=stream-json", "--verbose", "--include-partial-messages"}
	for _, row := range []struct {
		name   string
		config backend.Config
		r      backend.Request
		want   []string
	}{
		{"claude", backend.Config{Kind: "claude"}, backend.Request{}, slices.Concat(claude, []string{"--permission-mode=bypassPermissions"})},
		{"claude, all", backend.Config{Kind: "claude", ExtraArgs: []string{"--bare"}},
			backend.Request{Model: "opus", Session: "s-1", Effort: "minimal", System: "sys", Dir: "/run/dir", Permissions: "plan"},
			slices.Concat(claude, []string{"--permission-mode=plan", "--permission-prompts=none", "--model=opus", "--resume=s-1", "--effort=low",
				"--append-system-prompt-file=/run/dir/system.txt", "--system-prompt-snapshot=off", "--bare"})},
		{"claude, configured permissions", backend.Config{Kind: "claude", Permissions: "default"}, backend.Request{},
			slices.Concat(claude, []string{"--permission-mode=default", "--permission-prompts=none"})},
		{"pi", backend.Config{Kind: "pi"}, backend.Request{}, []string{"--mode", "json"}},
		{"pi, all", backend.Config{Kind: "pi", ExtraArgs: []string{"--no-skills"}},
			backend.Request{Model: "p/m", Session: "s-1", Effort: "minimal", System: "sys", Dir: "/run/dir", Permissions: "plan"},
			[]string{"--mode", "json", "--tools", "read,grep,find,ls", "--model", "p/m", "--session", "s-1", "--thinking", "minimal",
				"--append-system-prompt", "/run/dir/system.txt", "--no-skills"}},
		{"exec", backend.Config{Kind: "exec", ExtraArgs: []string{"x"}}, backend.Request{Model: "m"}, []string{"x"}},
		{"jsonl", backend.Config{Kind: "jsonl"}, backend.Request{Session: "s"}, nil},
		{"demo", backend.Config{Kind: "demo"}, backend.Request{}, nil},
	} {
		if diff := cmp.Diff(row.want, commandOf(t, row.config, row.r).Argv); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", row.name, diff)
		}
	}
}

// Law 8: what a client says is in no argv and no environment, whatever the CLI.
func TestKinds_PromptNotInArgv(t *testing.T) {
	for _, kind := range []string{"claude", "pi", "exec", "jsonl", "demo", "claude converses", "pi converses"} {
		kind, converse := strings.CutSuffix(kind, " converses")
		r := backend.Request{Prompt: "sesame-prompt", System: "sesame-system", Dir: "/d", Tmp: "/t", Converse: converse}
		c := commandOf(t, backend.Config{Kind: kind}, r)
		shown := strings.Join(c.Argv, " ")
		for name, value := range c.Set {
			shown += " " + name + "=" + value
		}
		if strings.Contains(shown, "sesame") {
			t.Errorf("%s shows %s", kind, shown)
		}
		given := string(c.Prompt)
		for _, f := range c.Files {
			given += string(f.Data)
		}
		if converse {
			wrote, _ := json.Marshal(written(t, kind, r, strings.Replace(seeing, "images: 1", "images: 0", 1)))
			given += string(wrote)
		}
		if !strings.Contains(given, "sesame-prompt") || !strings.Contains(given, "sesame-system") {
			t.Errorf("%s is given only %q", kind, given)
		}
	}
}

func TestKinds_Environment(t *testing.T) {
	r := backend.Request{Tmp: "/run/tmp", MemoryMax: 2 << 30, Root: true, Model: "m", Session: "s", Effort: "high"}
	for _, row := range []struct {
		kind   string
		r      backend.Request
		want   map[string]string
		absent []string
	}{
		{"claude", r, map[string]string{"TMPDIR": "/run/tmp", "CLAUDE_CODE_TMPDIR": "/run/tmp", "IS_SANDBOX": "1", "CLAUDE_CODE_MAX_RETRIES": "0", "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1"}, nil},
		{"claude", backend.Request{}, map[string]string{"DISABLE_AUTOUPDATER": "1"}, []string{"IS_SANDBOX"}},
		{"pi", r, map[string]string{"TMPDIR": "/run/tmp", "NODE_OPTIONS": "--max-old-space-size=1536", "PI_OFFLINE": "1"}, nil},
		{"pi", backend.Request{}, nil, []string{"NODE_OPTIONS"}},
		{"exec", r, map[string]string{"TMPDIR": "/run/tmp", "AGENT_MODEL": "m"}, []string{"AGENT_SESSION"}},
		{"jsonl", r, map[string]string{"TMPDIR": "/run/tmp", "AGENT_MODEL": "m", "AGENT_SESSION": "s", "AGENT_EFFORT": "high"}, nil},
		{"demo", backend.Request{}, nil, []string{"AGENT_MODEL", "AGENT_SESSION", "AGENT_EFFORT"}},
	} {
		got := commandOf(t, backend.Config{Kind: row.kind}, row.r).Set
		for name, value := range row.want {
			if got[name] != value {
				t.Errorf("%s: %s=%q, want %q", row.kind, name, got[name], value)
			}
		}
		for _, name := range row.absent {
			if value, ok := got[name]; ok {
				t.Errorf("%s: %s=%q, want none", row.kind, name, value)
			}
		}
	}
}

// The operator's word is the last one, and his map stays as it is.
func TestKinds_OperatorsEnvironment(t *testing.T) {
	set := map[string]string{"CLAUDE_CODE_MAX_RETRIES": "4", "MINE": "x"}
	c := commandOf(t, backend.Config{Kind: "claude", SetEnv: set, Env: []string{"AWS_*"}}, backend.Request{Tmp: "/t"})
	if c.Set["CLAUDE_CODE_MAX_RETRIES"] != "4" || c.Set["MINE"] != "x" || c.Set["TMPDIR"] != "/t" {
		t.Errorf("set %v", c.Set)
	}
	if !slices.Contains(c.Pass, "AWS_*") || !slices.Contains(c.Pass, "ANTHROPIC_*") {
		t.Errorf("pass %v", c.Pass)
	}
	if len(set) != 2 {
		t.Errorf("the configuration was changed: %v", set)
	}
}

func TestKinds_RefusedRequests(t *testing.T) {
	for _, kind := range []string{"claude", "pi"} {
		for _, row := range []struct {
			r    backend.Request
			want string
		}{
			{backend.Request{Model: "--dangerous"}, "model"},
			{backend.Request{Model: "a\x00b"}, "model"},
			{backend.Request{Session: "-x"}, "session"},
			{backend.Request{Effort: "heroic"}, "effort"},
			{backend.Request{Permissions: "yolo"}, "permissions"},
		} {
			b, err := New(backend.Config{Kind: kind})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := b.Command(row.r); err == nil || !strings.Contains(err.Error(), row.want) || !strings.HasPrefix(err.Error(), kind+": ") {
				t.Errorf("%s %+v: error %v", kind, row.r, err)
			}
		}
	}
}

func TestNew_NamesTheKnownKinds(t *testing.T) {
	for _, kind := range All() {
		if _, err := New(backend.Config{Name: "x", Kind: kind.Name}); err != nil {
			t.Errorf("%s: %v", kind.Name, err)
		}
	}
	_, err := New(backend.Config{Name: "x", Kind: "gpt"})
	if err == nil || !strings.Contains(err.Error(), `"gpt"`) || !strings.Contains(err.Error(), "opencode") {
		t.Errorf("error %v", err)
	}
	for _, kind := range []string{"claude", "pi", "exec", "jsonl", "demo"} {
		b, err := New(backend.Config{Name: "mine", Kind: kind})
		if err != nil || b.Name() != "mine" || b.Kind() != kind {
			t.Errorf("%s: %v", kind, err)
		}
		if plain := kind == "exec"; b.Features().PlainExit != plain || (b.Framing() == backend.Words) != plain {
			t.Errorf("%s: features %+v, framing %d", kind, b.Features(), b.Framing())
		}
	}
}

// What begins with a slash is text for every CLI: the real ones were asked.
func TestKinds_SlashesAreText(t *testing.T) {
	for kind, want := range map[string]string{
		"claude": "\n/clear", "gemini": "\n/clear", "pi": "<message>\n/clear\n</message>", "exec": "/clear", "jsonl": "/clear",
	} {
		if got := string(commandOf(t, backend.Config{Kind: kind}, backend.Request{Prompt: "/clear"}).Prompt); got != want {
			t.Errorf("%s is given %q, want %q", kind, got, want)
		}
		if got := string(commandOf(t, backend.Config{Kind: kind}, backend.Request{Prompt: "see /clear"}).Prompt); got != "see /clear" {
			t.Errorf("%s is given %q", kind, got)
		}
	}
}
