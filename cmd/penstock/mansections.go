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

var overviewSections = []manSection{
	exitStatus,
	{name: "ENVIRONMENT", items: []manItem{
		{"`PENSTOCK_*`", "Settings: the dotted key in capitals with underscores, as in `PENSTOCK_BUDGET_MAX_RUNS=4`. They win over the file. One that is no key is an error."},
		{"`CONFIGURATION_DIRECTORY`, `STATE_DIRECTORY`", "Where the service manager says that configuration and state are."},
		{"`XDG_CONFIG_HOME`, `XDG_STATE_HOME`", "The same for an ordinary user."},
		{"`NOTIFY_SOCKET`, `WATCHDOG_USEC`, `LISTEN_FDS`", "How the service manager hears that the daemon serves and is well, and the sockets it has opened for it."},
	}},
	{name: "FILES", items: []manItem{
		{"`/etc/penstock/penstock.toml`", "The configuration, where the next one is missing, too."},
		{"`$XDG_CONFIG_HOME/penstock/penstock.toml`", "An ordinary user's."},
		{"`/var/lib/penstock`", "State of the service: runs and their output, sessions. An ordinary user's is in `~/.local/state/penstock`."},
		{"`/usr/share/penstock`", "Dashboards and rules for Grafana and Prometheus."},
	}},
}
