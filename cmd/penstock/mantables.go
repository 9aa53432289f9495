package main

// configurationSections stand before the keys in penstock.toml(5).
var configurationSections = []manSection{
	{name: "DESCRIPTION", text: "The file is TOML. Taken is the one that `--config` names, which must exist, else the first of these: " +
		"`$CONFIGURATION_DIRECTORY/penstock.toml`, `/etc/penstock/penstock.toml` and `$XDG_CONFIG_HOME/penstock/penstock.toml`. " +
		"With no file all defaults hold.\n\n" +
		"Over the file stand `PENSTOCK_*` variables, and over these the options of the command line. " +
		"A key that is not known is an error; all problems are told at once, each with file, line and column. " +
		"`penstock config` prints what is in force, `penstock check` what this host makes of it.\n\n" +
		"The daemon reads the file again on SIGHUP. Tokens and `log.level` take effect then, what needs a restart is named in the log, " +
		"and a file with a problem changes nothing."},
	{name: "TYPES", items: []manItem{
		{"string, list", "As TOML has them: `\"text\"`, `[\"one\", \"two\"]`. A list of one may be a string."},
		{"command", "A program and its arguments, a list or a string: `[\"goose\", \"acp\"]`."},
		{"size", "`\"512MiB\"`, `\"2G\"`, or `\"75%\"` of the host's memory or of the limit of penstock's own group, the smaller."},
		{"duration", "`\"30s\"`, `\"10m\"`, `\"1h30m\"`."},
		{"cores", "`\"200%\"` is two processors."},
	}},
}

// tableText introduces each table of the file.
var tableText = map[string]string{
	"":                  "Of the daemon as a whole.",
	"isolation":         "What holds a run.",
	"budget":            "What all runs together may have.",
	"keep":              "What stays of runs that are over. The oldest go first.",
	"queue":             "Requests that find no slot wait, each client in a line of its own.",
	"limits":            "Of one run. A backend may have its own; a default that is larger than the budget is cut to it.",
	"translate":         "How a client in a container may name this host in a request.",
	"log":               "The log goes to standard error. Prompts and answers are never in it.",
	"clients.*":         "For the client `NAME`: a token's name, or the number of a user who comes through a unix socket.",
	"backends.*":        "For the backend `NAME`. `claude`, `codex`, `opencode`, `kimi`, `pi` and `gemini` are known and need no table; any other name needs a `kind` and a `command`. A model is `NAME`, or `NAME/MODEL`.",
	"backends.*.limits": "Of a run of this backend: the keys of `[limits]`, each in place of the one there.",
}

const configurationExample = `workspace_roots = ["/srv/checkouts"]

[isolation]
mode = "strict"

[limits]
memory_max = "2GiB"
timeout = "30m"

[clients.pr-reviewer]
max_runs = 4
reserved_runs = 2
weight = 2

[backends.claude]
default_model = "sonnet"
env = ["ANTHROPIC_API_KEY"]
[backends.claude.limits]
memory_max = "4GiB"

[backends.upper]
kind = "exec"
command = ["/usr/bin/tr", "a-z", "A-Z"]
`
