package manual

// section is a part of a page that no command tells of itself. What stands
// between backticks is literal.
type section struct {
	name  string
	text  string
	items []item
}

type item struct{ term, meaning string }

func (s section) write(r *roff) {
	r.section(s.name)
	if s.text != "" {
		r.text(prose(s.text))
	}
	for _, i := range s.items {
		r.item(prose(i.term), prose(i.meaning))
	}
}

var exitStatus = section{name: "EXIT STATUS", items: []item{
	{"0", "Done."},
	{"1", "It failed; the reason is on standard error."},
	{"2", "It was called in a wrong way."},
}}

// clientExitStatus is that of a command which speaks to a daemon.
var clientExitStatus = section{name: "EXIT STATUS", items: append(exitStatus.items[:3:3],
	item{"3", "Refused: nothing was started, and it can be tried again."},
	item{"4", "A run's limit on memory, processes or output."},
	item{"5", "A run's time was over, or it stalled."},
	item{"6", "A run was cancelled by somebody else."},
	item{"7", "No daemon, or the connection was lost."},
	item{"130", "Interrupted."},
)}

var overviewSections = []section{
	exitStatus,
	{name: "ENVIRONMENT", items: []item{
		{"`PENSTOCK_*`", "Settings: the dotted key in capitals with underscores, as in `PENSTOCK_BUDGET_MAX_RUNS=4`. They win over the file. One that is no key is an error."},
		{"`CONFIGURATION_DIRECTORY`, `STATE_DIRECTORY`", "Where the service manager says that configuration and state are."},
		{"`XDG_CONFIG_HOME`, `XDG_STATE_HOME`", "The same for an ordinary user."},
		{"`PENSTOCK_URL`, `PENSTOCK_TOKEN`, `PENSTOCK_TOKEN_FILE`", "Where the daemon is, and the token to show it, for the commands that ask it. No settings of the daemon."},
		{"`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS`", "How the service manager hears that the daemon serves and is well, and the sockets it has opened for it."},
	}},
	{name: "FILES", items: []item{
		{"`/etc/penstock/penstock.toml`", "The configuration, where the next one is missing, too."},
		{"`$XDG_CONFIG_HOME/penstock/penstock.toml`", "An ordinary user's."},
		{"`/var/lib/penstock`", "State of the service: runs and their output, sessions. An ordinary user's is in `~/.local/state/penstock`."},
		{"`/usr/share/penstock`", "Dashboards and rules for Grafana and Prometheus."},
	}},
}

// configurationSections stand before the keys in penstock.toml(5).
var configurationSections = []section{
	{name: "DESCRIPTION", text: "The file is TOML. Taken is the one that `--config` names, which must exist, else the first of these: " +
		"`$CONFIGURATION_DIRECTORY/penstock.toml`, `/etc/penstock/penstock.toml` and `$XDG_CONFIG_HOME/penstock/penstock.toml`. " +
		"With no file all defaults hold.\n\n" +
		"Over the file stand `PENSTOCK_*` variables, and over these the options of the command line. " +
		"A key that is not known is an error; all problems are told at once, each with file, line and column. " +
		"`penstock config` prints what is in force, `penstock check` what this host makes of it.\n\n" +
		"The daemon reads the file again on SIGHUP. Tokens and `log.level` take effect then, what needs a restart is named in the log, " +
		"and a file with a problem changes nothing."},
	{name: "TYPES", items: []item{
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
	"attachments":       "Images and files of requests, where those only name them.",
	"translate":         "How a client in a container may name this host in a request.",
	"log":               "The log goes to standard error. Prompts and answers are never in it.",
	"clients.*":         "For the client `NAME`: a token's name, or the number of a user who comes through a unix socket.",
	"backends.*":        "For the backend `NAME`. `claude`, `codex`, `opencode`, `kimi`, `pi` and `gemini` are known and need no table; any other name needs a `kind` and a `command`. A model is `NAME`, or `NAME/MODEL`.",
	"images.*":          "A root file system that runs may have in place of the host's; `penstock image add` stores others, under names of their own. It has either `rootfs` or `oci`.",
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
