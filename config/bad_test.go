package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// scene is a host on which a configuration is loaded: a home with a few files.
type scene struct {
	dir     string
	sources Sources
}

func newScene(t *testing.T) scene {
	t.Helper()
	dir := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("bin/codex", "#!/bin/sh\n", 0o755)
	write("bin/plain", "", 0o644)
	write("bin/dirprog/x", "", 0o644)
	write("tokens", "alice:correct-horse\nbob:battery-staple\n", 0o600)
	write("open", "alice:correct-horse\n", 0o644)
	write("empty", "# nobody\n", 0o600)
	return scene{dir: dir, sources: Sources{
		Environ: []string{"HOME=" + dir, "PATH=" + dir + "/bin", "XDG_CONFIG_HOME=" + dir + "/none"},
		Host:    Host{MemoryBytes: 8 * gib, UID: 0, Executable: "/usr/bin/penstock"},
	}}
}

func (s scene) load(t *testing.T, text string) (Config, error) {
	t.Helper()
	path := filepath.Join(s.dir, "c.toml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", s.dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	s.sources.File = path
	return Load(s.sources)
}

// texts is each problem on one line, with the scene's directory as DIR.
func (s scene) texts(err error) []string {
	var problems Problems
	if !errors.As(err, &problems) {
		return nil
	}
	var out []string
	for _, p := range problems {
		p.excerpt = ""
		line := strings.ReplaceAll(p.String(), s.dir, "DIR")
		out = append(out, strings.TrimPrefix(line, "DIR/c.toml:"))
	}
	return out
}

func TestLoad_BadFile(t *testing.T) {
	known := "acp, demo, exec, jsonl"
	tests := []struct {
		name, text string
		want       []string
	}{
		{"unknown key", "lisen = []", []string{`1:1: lisen: unknown key (hint: did you mean listen?)`}},
		{"unknown key in table", "\n[limits]\n  memry_max = \"1G\"", []string{`3:3: limits.memry_max: unknown key (hint: did you mean memory_max?)`}},
		{"unknown table", "[limts]\nmemory_max = \"1G\"\npids_max = 3", []string{`1:2: limts: unknown key (hint: did you mean limits?)`}},
		{"key of another table", "timeout = \"1m\"", []string{`1:1: timeout: unknown key (hint: it belongs in [limits])`}},
		{"unknown inline key", "isolation = { mod = \"strict\" }", []string{`1:15: isolation.mod: unknown key (hint: did you mean mode?)`}},
		{"unknown dotted key", "log.levl = \"info\"", []string{`1:5: log.levl: unknown key (hint: did you mean level?)`}},
		{"unknown backend key", "[backends.codex]\nmodel = \"x\"", []string{`2:1: backends.codex.model: unknown key (hint: did you mean models?)`}},
		{"list of tables", "[[budget]]\nmemory = \"1G\"", []string{`1:3: budget: is not a list of tables (hint: write [budget])`}},
		{"table as value", "budget = \"1G\"", []string{`1:10: budget: is a table, not a value (hint: write [budget])`}},
		{"value as table", "listen.x = 1", []string{`1:1: listen: is a value, not a table`}},
		{"syntax", "listen = [\"a\"\nbudget", []string{`2:1: expected ',' or ']' after array value`}},
		{"same key twice", "state_dir = \"/a\"\nstate_dir = \"/b\"", []string{`2:1: key state_dir is already defined`}},

		{"size without unit name", "[budget]\nmemory = \"12Q\"", []string{`2:10: budget.memory: "12Q": unknown unit "Q" (hint: write "512MiB", "2G" or "75%")`}},
		{"size is a word", "[budget]\nmemory = \"lots\"", []string{`2:10: budget.memory: "lots" is not a size (hint: write "512MiB", "2G" or "75%")`}},
		{"size is negative", "[budget]\nmemory = -5", []string{`2:10: budget.memory: "-5" is not a size (hint: write "512MiB", "2G" or "75%")`}},
		{"size is a truth", "[budget]\nmemory = true", []string{`2:10: budget.memory: want a size such as "512MiB", not true`}},
		{"size overflows", "[budget]\nmemory = \"9999999T\"", []string{`2:10: budget.memory: "9999999T" is too large`}},
		{"more than all", "[budget]\nmemory = \"175%\"", []string{`2:10: budget.memory: "175%" is more than there is (hint: at most 100%)`}},
		{"budget too small", "[budget]\nmemory = \"1MiB\"", []string{`2:10: budget.memory: 1 MiB is too small for any run (hint: at least 32 MiB)`}},
		{"duration without unit", "drain_timeout = 20", []string{`1:17: drain_timeout: "20" has no unit (hint: write "30s", "10m" or "2h")`}},
		{"duration 0 without unit", "drain_timeout = 0", []string{`1:17: drain_timeout: "0" has no unit (hint: write "30s", "10m" or "2h")`}},
		{"duration text without unit", "drain_timeout = \"20\"", []string{`1:17: drain_timeout: "20" has no unit (hint: write "30s", "10m" or "2h")`}},
		{"duration negative", "drain_timeout = \"-1s\"", []string{`1:17: drain_timeout: "-1s" is negative (hint: write "30s", "10m" or "2h")`}},
		{"duration word", "drain_timeout = \"soon\"", []string{`1:17: drain_timeout: "soon" is not a duration (hint: write "30s", "10m" or "2h")`}},
		{"cores as number", "[limits]\ncpu_max = 2", []string{`2:11: limits.cpu_max: "2" is not a share of processors: it has no unit (hint: write "200%" for 2 cores)`}},
		{"cores as word", "[limits]\ncpu_max = \"two\"", []string{`2:11: limits.cpu_max: "two" is not a share of processors (hint: write "200%" for two cores, or "" for no limit)`}},
		{"no cores", "[limits]\ncpu_max = 0", []string{`2:11: limits.cpu_max: "0" is not a share of processors (hint: write "200%" for two cores, or "" for no limit)`}},
		{"cores beyond all", "[limits]\ncpu_max = 10001", []string{`2:11: limits.cpu_max: "10001" is not a share of processors (hint: write "200%" for two cores, or "" for no limit)`}},
		{"cores out of range", "[limits]\ncpu_max = \"0%\"", []string{`2:11: limits.cpu_max: "0%" is out of range (hint: write "200%" for two cores, or "" for no limit)`}},
		{"not in the choice", "[isolation]\nmode = \"loose\"", []string{`2:8: isolation.mode: "loose" is not known (hint: one of strict, available)`}},
		{"truth as string", "[isolation]\nself_test = \"yes\"", []string{`2:13: isolation.self_test: want true or false, not the string "yes"`}},
		{"count as float", "[budget]\nmax_runs = 1.5", []string{`2:12: budget.max_runs: want a whole number, not 1.5`}},
		{"count negative", "[budget]\nmax_runs = -1", []string{`2:12: budget.max_runs: -1 is negative`}},
		{"share negative", "[limits]\ncpu_weight = -1", []string{`2:14: limits.cpu_weight: -1 is negative`}},
		{"list of numbers", "allowed_hosts = [\"a\", 7]", []string{`1:1: allowed_hosts: element 2: want a string, not 7`}},
		{"string as date", "state_dir = 2026-11-23", []string{`1:13: state_dir: want a string, not a date or time`}},

		{"memory below floor", "[limits]\nmemory_max = \"8MiB\"", []string{`2:14: limits.memory_max: 8 MiB is too small (hint: at least 32 MiB: below it a program can't even start)`}},
		{"swap", "[limits]\nswap_max = \"1G\"", []string{`2:12: limits.swap_max: swap can't be granted: the group of all runs has none (hint: leave it out)`}},
		{"backend's swap", "[backends.codex.limits]\nswap_max = \"1M\"", []string{`2:12: backends.codex.limits.swap_max: swap can't be granted: the group of all runs has none (hint: leave it out)`}},
		{"written cap over budget", "[budget]\nmemory = \"1G\"\n[limits]\nmemory_max = \"2G\"", []string{`4:14: limits.memory_max: 2 GiB can never fit the budget of 1 GiB (hint: lower it or raise budget.memory)`}},
		{"backend's cap over budget", "[budget]\nmemory = \"1G\"\n[backends.codex.limits]\nmemory_max = \"2G\"", []string{`4:14: backends.codex.limits.memory_max: 2 GiB can never fit the budget of 1 GiB (hint: lower it or raise budget.memory)`}},
		{"high not below max", "[limits]\nmemory_max = \"1G\"\nmemory_high = \"1G\"", []string{`3:15: limits.memory_high: memory_high of 1 GiB is not below memory_max of 1 GiB (hint: about 90% of memory_max, or leave it out)`}},
		{"backend's max below inherited high", "[limits]\nmemory_high = \"1G\"\n[backends.codex.limits]\nmemory_max = \"512M\"", []string{`4:14: backends.codex.limits.memory_max: memory_high of 1 GiB is not below memory_max of 512 MiB (hint: about 90% of memory_max, or leave it out)`}},
		{"no pids", "[limits]\npids_max = 0", []string{`2:12: limits.pids_max: must be from 1 to 4194304`}},
		{"weight out of range", "[limits]\ncpu_weight = 10001", []string{`2:14: limits.cpu_weight: must be from 1 to 10000`}},
		{"no time", "[limits]\ntimeout = \"0\"", []string{`2:11: limits.timeout: must be at least 1s`}},
		{"stall too short", "[limits]\nstall_timeout = \"5ms\"", []string{`2:17: limits.stall_timeout: must be 0 or at least 1s (hint: 0 is never)`}},
		{"grace too long", "[limits]\ngrace = \"6m\"", []string{`2:9: limits.grace: must be at most 5m`}},
		{"line longer than output", "[limits]\noutput_max = \"1MiB\"\nline_max = \"2MiB\"", []string{`3:12: limits.line_max: line_max of 2 MiB is more than output_max of 1 MiB`}},
		{"no waiting time", "[queue]\nmax_wait = \"0\"", []string{`2:12: queue.max_wait: must be more than 0 (hint: queue.max_waiting = 0 turns waiting off)`}},

		{"fetched from a URL", "[attachments]\nfetch_hosts = [\"https://x\"]", []string{`2:1: attachments.fetch_hosts: "https://x" is not a host, an address or a prefix, nor a host with a port (hint: write "*", "images.example.net", "files.example.net:8443", "10.1.2.3" or "10.0.0.0/8")`}},
		{"fetched from nowhere", "[attachments]\nfetch = true\nfetch_hosts = []", []string{`3:1: attachments.fetch_hosts: is empty: nothing could be fetched (hint: write ["*"], or fetch = false)`}},
		{"fetched with a wildcard", "[attachments]\nfetch_hosts = [\"*.x\", \"*\"]", []string{`2:1: attachments.fetch_hosts: "*.x" is not a host, an address or a prefix, nor a host with a port (hint: write "*", "images.example.net", "files.example.net:8443", "10.1.2.3" or "10.0.0.0/8")`}},
		{"fetch nothing", "[attachments]\nfetch_max = 0", []string{`2:13: attachments.fetch_max: must be more than 0, and at most 16 MiB (hint: a size such as "6MiB")`}},
		{"fetch too much", "[attachments]\nfetch_max = \"17MiB\"", []string{`2:13: attachments.fetch_max: must be more than 0, and at most 16 MiB (hint: a size such as "6MiB")`}},
		{"fetch in no time", "[attachments]\nfetch_timeout = \"0\"", []string{`2:17: attachments.fetch_timeout: must be more than 0`}},

		{"no listener", "listen = []", []string{`1:1: listen: is empty (hint: write ["127.0.0.1:3344"])`}},
		{"no port", "listen = [\"localhost\"]", []string{`1:1: listen: "localhost" is not an address (hint: write "127.0.0.1:3344" or "unix:/path")`}},
		{"port too high", "listen = \"127.0.0.1:70000\"", []string{`1:10: listen: "127.0.0.1:70000": port "70000" (hint: from 0 to 65535; 0 takes any free one)`}},
		{"bare socket path", "listen = \"/run/p.sock\"", []string{`1:10: listen: "/run/p.sock" is not an address (hint: write unix:/run/p.sock)`}},
		{"relative socket", "listen = \"unix:p.sock\"", []string{`1:10: listen: "p.sock" is not absolute (hint: write an absolute path)`}},
		{"twice", "listen = [\"127.0.0.1:1\", \"127.0.0.1:1\"]", []string{`1:1: listen: "127.0.0.1:1" is there twice`}},
		{"open to all", "listen = \"0.0.0.0:3344\"", []string{`1:10: listen: "0.0.0.0:3344" can be reached from other machines, and there are no tokens (hint: set tokens_file, or listen on 127.0.0.1)`}},
		{"every interface", "listen = \":3344\"", []string{`1:10: listen: ":3344" can be reached from other machines, and there are no tokens (hint: set tokens_file, or listen on 127.0.0.1)`}},
		{"host with scheme", "allowed_hosts = [\"http://x\"]", []string{`1:1: allowed_hosts: "http://x" is not a host name (hint: a bare name, without scheme and port)`}},

		{"every origin", "allowed_origins = \"*\"", []string{`1:19: allowed_origins: "*" is every web page (hint: write each origin: whoever makes a page could use the agents otherwise)`}},
		{"every web origin", "allowed_origins = [\"https://*\"]", []string{`1:1: allowed_origins: "https://*" is every web page (hint: write each origin: whoever makes a page could use the agents otherwise)`}},
		{"null without tokens", "allowed_origins = [\"null\"]", []string{`1:1: allowed_origins: "null" is what any web page's sandboxed frame sends, and there are no tokens (hint: set tokens_file, or leave it out)`}},
		{"origin with path", "allowed_origins = [\"https://x/\"]", []string{`1:1: allowed_origins: "https://x/" is not an origin (hint: write "https://chat.example.net", "app://obsidian.md", "vscode-webview://*" or "null")`}},
		{"origin without scheme", "allowed_origins = [\"chat.example\"]", []string{`1:1: allowed_origins: "chat.example" is not an origin (hint: write "https://chat.example.net", "app://obsidian.md", "vscode-webview://*" or "null")`}},
		{"alias is a backend", "[backends.codex]\naliases = [\"claude\"]", []string{`2:1: backends.codex.aliases: "claude" is a name of backend claude (hint: choose another name)`}},
		{"alias is its own name", "[backends.codex]\naliases = [\"codex\"]", []string{`2:1: backends.codex.aliases: "codex" is a name of backend codex (hint: choose another name)`}},
		{"alias of two", "[backends.claude]\naliases = [\"x\"]\n[backends.codex]\naliases = [\"x\"]", []string{`4:1: backends.codex.aliases: "x" is a name of backend claude (hint: choose another name)`}},
		{"alias reserved", "[backends.codex]\naliases = [\"bridge\"]", []string{`2:1: backends.codex.aliases: "bridge" is reserved: a leading "bridge/" of a model is dropped (hint: choose another name)`}},
		{"alias with a slash", "[backends.codex]\naliases = [\"a/b\"]", []string{`2:1: backends.codex.aliases: "a/b" can't be a name (hint: letters, digits and . _ : -, at most 64)`}},

		{"hide: relative", "[isolation]\nhide = [\"run/x\"]", []string{`2:1: isolation.hide: "run/x" is not absolute (hint: write an absolute path, or "default" for all of the default's)`}},
		{"hide: not clean", "[isolation]\nhide = [\"/run//x/\"]", []string{`2:1: isolation.hide: "/run//x/" is not clean (hint: write /run/x)`}},
		{"hide: bad wildcard", "[isolation]\nhide = [\"/run/[x\"]", []string{`2:1: isolation.hide: "/run/[x": a [ without its ]`}},
		{"hide: all", "[isolation]\nhide = \"/\"", []string{`2:8: isolation.hide: "/" is everything`}},
		{"hide: no list", "[isolation]\nhide = true", []string{`2:8: isolation.hide: want a list of strings, not true`}},
		{"read_only: where runs work", "state_dir = \"/srv/penstock\"\n[isolation]\nread_only = [\"/srv\", \"/srv/penst*\"]", []string{`3:1: isolation.read_only: "/srv" holds state_dir, where runs work (hint: move state_dir)`}},
		{"abstract", "[isolation]\nabstract_sockets = 1", []string{`2:20: isolation.abstract_sockets: want true or false, not 1`}},

		{"relative state", "state_dir = \"var\"", []string{`1:13: state_dir: "var" is not absolute (hint: write an absolute path)`}},
		{"another's home", "state_dir = \"~bob/x\"", []string{`1:13: state_dir: "~bob/x": only ~ and ~/... are expanded (hint: write the absolute path)`}},
		{"state is a file", "state_dir = \"DIR/tokens\"", []string{`1:13: state_dir: DIR/tokens is not a directory`}},
		{"root isn't there", "workspace_roots = [\"DIR/nowhere\"]", []string{`1:1: workspace_roots: DIR/nowhere: no such file or directory`}},
		{"tokens not there", "tokens_file = \"DIR/nope\"", []string{`1:15: tokens_file: DIR/nope: no such file or directory`}},
		{"tokens a directory", "tokens_file = \"DIR\"", []string{`1:15: tokens_file: DIR is not a regular file`}},
		{"tokens open", "tokens_file = \"DIR/open\"", []string{`1:15: tokens_file: DIR/open can be read by others (mode 0644) (hint: chmod 600 DIR/open)`}},
		{"tokens empty", "tokens_file = \"DIR/empty\"", []string{`1:15: tokens_file: DIR/empty holds no token (hint: a line is name:token)`}},

		{"no kind", "[backends.goose]\ncommand = \"codex\"", []string{`1:11: backends.goose: has no kind (hint: exec, jsonl or acp)`}},
		{"nearly known", "[backends.cluade]", []string{`1:11: backends.cluade: has no kind (hint: did you mean claude?)`}},
		{"unknown kind", "[backends.x]\nkind = \"grpc\"\ncommand = \"codex\"", []string{`2:8: backends.x.kind: "grpc" is not known (hint: one of claude, codex, gemini, kimi, opencode, pi, ` + known + `)`}},
		{"known of another kind", "[backends.codex]\nkind = \"exec\"\ncommand = \"codex\"", []string{`2:8: backends.codex.kind: codex is always of kind codex (hint: give it a name of its own)`}},
		{"no command", "[backends.x]\nkind = \"exec\"", []string{`1:11: backends.x: has no command (hint: write command = ["program", "argument"])`}},
		{"empty command", "[backends.x]\nkind = \"exec\"\ncommand = []", []string{`3:1: backends.x.command: is empty`}},
		{"alias", "[backends.claude-code]\nkind = \"claude\"", []string{`1:11: backends.claude-code: "claude-code" is reserved: it is an alias of claude (hint: choose another name)`}},
		{"bridge", "[backends.bridge]\nkind = \"exec\"\ncommand = \"codex\"", []string{`1:11: backends.bridge: "bridge" is reserved: a leading "bridge/" of a model is dropped (hint: choose another name)`}},
		{"capitals", "[backends.Codex]\nkind = \"codex\"", []string{`1:11: backends.Codex: "Codex" can't be a backend's name (hint: small letters, digits, dash and underscore, at most 64)`}},
		{"demo's command", "[backends.demo]\ncommand = \"codex\"", []string{`2:11: backends.demo.command: demo is the daemon's own program (hint: leave it out)`}},
		{"value in env", "[backends.codex]\nenv = [\"A=secret\"]", []string{`2:1: backends.codex.env: "A=..." is not a name (hint: values go into set_env)`}},
		{"own variable", "[backends.codex]\nenv = [\"PENSTOCK_*\"]", []string{`2:1: backends.codex.env: "PENSTOCK_*" is the daemon's own and is never passed on`}},
		{"bad set_env", "[backends.codex.set_env]\n\"A-B\" = \"x\"", []string{`2:9: backends.codex.set_env.A-B: "A-B" is not a name`}},
		{"permissions", "[backends.codex]\npermissions = \"all\"", []string{`2:15: backends.codex.permissions: "all" is not known (hint: one of bypass, plan, default)`}},
		{"home isn't there", "[backends.codex]\nhome = \"DIR/nope\"", []string{`2:8: backends.codex.home: DIR/nope: no such file or directory`}},
		{"seed without private home", "[backends.codex]\nhome_seed = \"DIR\"", []string{`2:13: backends.codex.home_seed: only a private home can be seeded (hint: write home = "private")`}},
		{"no such user", "[backends.codex]\nuser = \"nobody-here\"", []string{`2:8: backends.codex.user: there is no user "nobody-here" (hint: useradd --system nobody-here)`}},

		{"reserved over all", "[budget]\nmax_runs = 2\n[clients.a]\nreserved_runs = 2\n[clients.b]\nreserved_runs = 1", []string{`6:17: clients.b.reserved_runs: clients reserve 3 slots together, and there are 2 (hint: lower a client's reserved_runs, or raise budget.max_runs or budget.memory)`}},
		{"all slots reserved", "[budget]\nmax_runs = 2\nmemory = \"8G\"\n[limits]\nmemory_max = \"1G\"\n[clients.1000]\nreserved_runs = 2", []string{`7:17: clients.1000.reserved_runs: client "anonymous" can never run anything: all 2 slots are reserved for others (hint: lower it, or raise budget.max_runs)`}},
		{"a cap never fits beside what is reserved", "[budget]\nmemory = \"4G\"\n[limits]\nmemory_max = \"1G\"\n[backends.codex.limits]\nmemory_max = \"3G\"\n[clients.1000]\nreserved_runs = 2", []string{`8:17: clients.1000.reserved_runs: client "anonymous" can never run backend codex: its memory_max of 3 GiB and the 2 GiB that are reserved for others are more than the budget of 4 GiB (hint: lower it or the backend's memory_max, or raise budget.memory)`}},
		{"reserved over own", "[clients.a]\nmax_runs = 1\nreserved_runs = 2", []string{`3:17: clients.a.reserved_runs: 2 is more than the client's max_runs of 1`}},
		{"no weight", "[clients.a]\nweight = 0", []string{`2:10: clients.a.weight: must be from 1 to 100`}},
		{"client other", "[clients.other]\nweight = 1", []string{`1:10: clients.other: "other" is reserved (hint: metrics count all unnamed clients under it)`}},
		{"client without token", "tokens_file = \"DIR/tokens\"\n[clients.alicia]\nweight = 2", []string{`2:10: clients.alicia: no token has this name (hint: did you mean alice?)`}},

		{"all at once", "lisen = 1\ndrain_timeout = 3\n[limits]\npids_max = 0\n[backends.goose]", []string{
			`1:1: lisen: unknown key (hint: did you mean listen?)`,
			`2:17: drain_timeout: "3" has no unit (hint: write "30s", "10m" or "2h")`,
			`4:12: limits.pids_max: must be from 1 to 4194304`,
			`5:11: backends.goose: has no kind (hint: exec, jsonl or acp)`,
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			_, err := s.load(t, tt.text)
			if diff := cmp.Diff(tt.want, s.texts(err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}
