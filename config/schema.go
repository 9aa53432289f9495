package config

import (
	"slices"
	"strings"
)

// kind of a value.
type kind int

const (
	text     kind = iota // string
	list                 // []string
	words                // []string: a program and its arguments
	size                 // int64 bytes
	span                 // time.Duration
	cores                // float64
	count                // int64
	truth                // bool
	wildcard = "*"
)

// field is one key of the configuration; "*" in a key stands for a name.
type field struct {
	key   string
	kind  kind
	def   string // in the form an environment variable has
	help  string
	oneOf []string
}

// fields is every key there is.
type fields []field

// limitFields are a backend's own limits and, below "limits", their defaults.
func limitFields() []field {
	return []field{
		{key: "memory_max", kind: size, def: "2GiB", help: "memory of one run, a hard cap"},
		{key: "memory_high", kind: size, def: "", help: "memory of one run above which it is throttled; empty is off"},
		{key: "swap_max", kind: size, def: "0", help: "swap of one run; only 0 is possible"},
		{key: "pids_max", kind: count, def: "512", help: "processes and threads of one run"},
		{key: "cpu_max", kind: cores, def: "", help: "processor time of one run, 200% is two cores; empty is no limit"},
		{key: "cpu_weight", kind: count, def: "100", help: "share of the processors against other runs, 1..10000"},
		{key: "timeout", kind: span, def: "30m", help: "longest life of one run"},
		{key: "stall_timeout", kind: span, def: "10m", help: "no output, CPU and I/O for so long ends a run; 0 is never"},
		{key: "grace", kind: span, def: "2s", help: "between SIGTERM and the kill, where the program wants it"},
		{key: "output_max", kind: size, def: "64MiB", help: "output of one run"},
		{key: "line_max", kind: size, def: "16MiB", help: "one line of output"},
	}
}

// schema is every key there is, in the order in which it is shown.
func schema() fields {
	all := fields{
		{key: "listen", kind: list, def: "127.0.0.1:3344", help: "addresses: host:port or unix:/path"},
		{key: "state_dir", kind: text, help: "where runs and sessions are kept"},
		{key: "tokens_file", kind: text, help: "file of name:token lines, mode 0600"},
		{key: "allowed_hosts", kind: list, help: "Host names accepted beside loopback and the listen addresses"},
		{key: "allowed_origins", kind: list, help: "Origin headers accepted beside the daemon's own: desktop apps and web pages that may use it"},
		{key: "workspace_roots", kind: list, def: "~", help: "directories a request's cwd may lie in"},
		{key: "drain_timeout", kind: span, def: "20s", help: "how long live runs may go on after SIGTERM"},
		{key: "first_byte_after", kind: span, def: "20s", help: "when a reply that isn't streamed starts with its headers and spaces; 0 is never"},
		{key: "isolation.mode", kind: text, def: "available", oneOf: []string{"strict", "available"}, help: "strict: the kernel must hold memory and pids"},
		{key: "isolation.self_test", kind: truth, def: "true", help: "at start, run a real child in a throw-away group"},
		{key: "isolation.hide", kind: list, def: theDefault, help: "paths that are empty to runs when penstock is root"},
		{key: "isolation.read_only", kind: list, def: theDefault, help: "paths that runs can only read when penstock is root"},
		{key: "isolation.abstract_sockets", kind: truth, def: "false", help: "let runs connect to the host's abstract sockets"},
		{key: "budget.memory", kind: size, def: "75%", help: "memory of all runs together; a percentage is of the smallest limit above, and follows it"},
		{key: "budget.max_runs", kind: count, def: "0", help: "runs at once; 0 is as memory allows"},
		{key: "budget.overcommit", kind: truth, def: "false", help: "reserve what a backend's runs lately needed in place of their cap"},
		{key: "keep.age", kind: span, def: "1h", help: "how long a finished run and its output are kept"},
		{key: "keep.runs", kind: count, def: "1000", help: "finished runs kept at most"},
		{key: "keep.size", kind: size, def: "4GiB", help: "output of finished runs kept at most"},
		{key: "keep.min_free", kind: size, def: "256MiB", help: "room below which finished runs go early and the daemon is not ready, at most a tenth of the file system; 0 is none"},
		{key: "queue.max_waiting", kind: count, def: "64", help: "requests of one client that may wait"},
		{key: "queue.max_wait", kind: span, def: "4m", help: "how long a request may wait"},
	}
	for _, f := range limitFields() {
		f.key = "limits." + f.key
		all = append(all, f)
	}
	all = append(all,
		field{key: "translate.sidecar_host", kind: text, def: "host.docker.internal", help: "name of this host seen from a container"},
		field{key: "translate.aliases", kind: list, def: "host.containers.internal", help: "further such names"},
		field{key: "log.level", kind: text, def: "info", oneOf: []string{"debug", "info", "warn", "error"}, help: "least level that is logged"},
		field{key: "log.format", kind: text, def: "auto", oneOf: []string{"auto", "text", "json"}, help: "auto: text on a terminal, JSON else"},
		field{key: "clients.*.max_runs", kind: count, def: "0", help: "runs at once of this client; 0 is no limit of its own"},
		field{key: "clients.*.reserved_runs", kind: count, def: "0", help: "slots, with memory for them, that nobody else may use"},
		field{key: "clients.*.weight", kind: count, def: "1", help: "turns against other clients, 1..100"},
		field{key: "clients.*.operator", kind: truth, def: "false", help: "may see and cancel every client's runs"},
		field{key: "backends.*.kind", kind: text, help: "which adapter: " + strings.Join(Kinds(), " ")},
		field{key: "backends.*.command", kind: words, help: "program and arguments"},
		field{key: "backends.*.default_model", kind: text, help: "model when a request names none"},
		field{key: "backends.*.models", kind: list, help: "models to list"},
		field{key: "backends.*.aliases", kind: list, help: "more names a client may ask for it by"},
		field{key: "backends.*.env", kind: list, help: "environment variables to pass on"},
		field{key: "backends.*.set_env.*", kind: text, help: "environment variable to set"},
		field{key: "backends.*.extra_args", kind: list, help: "arguments to append"},
		field{key: "backends.*.permissions", kind: text, def: "bypass", oneOf: []string{"bypass", "plan", "default"}, help: "what the agent may do unasked"},
		field{key: "backends.*.home", kind: text, help: "empty, private, or a directory"},
		field{key: "backends.*.home_seed", kind: text, help: "directory copied into a private home"},
		field{key: "backends.*.cwd", kind: text, help: "working directory when a request names none"},
		field{key: "backends.*.user", kind: text, help: "Unix user to run as"},
	)
	for _, f := range limitFields() {
		f.key = "backends.*.limits." + f.key
		f.def = ""
		all = append(all, f)
	}
	return all
}

// at finds the field of a path, as a file has it.
func (s fields) at(path []string) (field, bool) {
	for _, f := range s {
		if slices.EqualFunc(strings.Split(f.key, "."), path, segmentMatches) {
			return f, true
		}
	}
	return field{}, false
}

// dotted finds the field of a dotted key and the names its "*" stand for.
func (s fields) dotted(key string) (field, []string, bool) {
	for _, f := range s {
		if captured, ok := capture(f.key, key); ok {
			return f, captured, true
		}
	}
	return field{}, nil, false
}

// below are the names that may follow a path; "*" is any.
func (s fields) below(path []string) []string {
	var names []string
	for _, f := range s {
		parts := strings.Split(f.key, ".")
		if len(parts) > len(path) && slices.EqualFunc(parts[:len(path)], path, segmentMatches) {
			names = append(names, parts[len(path)])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func segmentMatches(pattern, segment string) bool {
	return pattern == wildcard && segment != "" || pattern == segment
}

// capture matches a text against a pattern and gives what each "*" stands for:
// at least one byte, the last as long and any other as short as it can be.
func capture(pattern, text string) ([]string, bool) {
	before, after, wild := strings.Cut(pattern, wildcard)
	if !wild {
		return nil, pattern == text
	}
	rest, ok := strings.CutPrefix(text, before)
	if !ok || rest == "" {
		return nil, false
	}
	between, _, more := strings.Cut(after, wildcard)
	if !more {
		name, ok := strings.CutSuffix(rest, after)
		return []string{name}, ok && name != ""
	}
	i := strings.Index(rest[1:], between) + 1
	if i == 0 {
		return nil, false
	}
	others, ok := capture(after, rest[i:])
	return append([]string{rest[:i]}, others...), ok
}
