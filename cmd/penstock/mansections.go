package main

// manSection is a part of a page that no command tells of itself. What stands
// between backticks is literal.
type manSection struct {
	name  string
	text  string
	items []manItem
}

type manItem struct{ term, meaning string }

func (s manSection) write(r *roff) {
	r.section(s.name)
	if s.text != "" {
		r.text(prose(s.text))
	}
	for _, i := range s.items {
		r.item(prose(i.term), prose(i.meaning))
	}
}

var exitStatus = manSection{name: "EXIT STATUS", items: []manItem{
	{"0", "Done."},
	{"1", "It failed; the reason is on standard error."},
	{"2", "It was called in a wrong way."},
}}

// clientExitStatus is that of a command which speaks to a daemon.
var clientExitStatus = manSection{name: "EXIT STATUS", items: append(exitStatus.items[:3:3],
	manItem{"3", "Refused: nothing was started, and it can be tried again."},
	manItem{"4", "A run's limit on memory, processes or output."},
	manItem{"5", "A run's time was over, or it stalled."},
	manItem{"6", "A run was cancelled by somebody else."},
	manItem{"7", "No daemon, or the connection was lost."},
	manItem{"130", "Interrupted."},
)}

var overviewSections = []manSection{
	exitStatus,
	{name: "ENVIRONMENT", items: []manItem{
		{"`PENSTOCK_*`", "Settings: the dotted key in capitals with underscores, as in `PENSTOCK_BUDGET_MAX_RUNS=4`. They win over the file. One that is no key is an error."},
		{"`CONFIGURATION_DIRECTORY`, `STATE_DIRECTORY`", "Where the service manager says that configuration and state are."},
		{"`XDG_CONFIG_HOME`, `XDG_STATE_HOME`", "The same for an ordinary user."},
		{"`PENSTOCK_URL`, `PENSTOCK_TOKEN`, `PENSTOCK_TOKEN_FILE`", "Where the daemon is, and the token to show it, for the commands that ask it. No settings of the daemon."},
		{"`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS`", "How the service manager hears that the daemon serves and is well, and the sockets it has opened for it."},
	}},
	{name: "FILES", items: []manItem{
		{"`/etc/penstock/penstock.toml`", "The configuration, where the next one is missing, too."},
		{"`$XDG_CONFIG_HOME/penstock/penstock.toml`", "An ordinary user's."},
		{"`/var/lib/penstock`", "State of the service: runs and their output, sessions. An ordinary user's is in `~/.local/state/penstock`."},
		{"`/usr/share/penstock`", "Dashboards and rules for Grafana and Prometheus."},
	}},
}
