package config

import (
	"penstock/internal/bytesize"
	"penstock/internal/egress"
)

// validate makes the configuration whole: paths become absolute, what is missing
// is filled in, and what only the whole can tell is checked.
func (l *loader) validate() {
	c := &l.config
	c.Listen = l.listen()
	c.StateDir = l.stateDir()
	c.TokensFile = l.tokensFile()
	c.AllowedHosts = l.hosts("allowed_hosts", c.AllowedHosts)
	c.AllowedOrigins = l.allowedOrigins("allowed_origins", c.AllowedOrigins)
	c.WorkspaceRoots = l.workspaceRoots()
	l.checkHostName("translate.sidecar_host", c.Translate.SidecarHost)
	c.Translate.Aliases = l.hosts("translate.aliases", c.Translate.Aliases)
	c.Isolation.Hide = l.patterns("isolation.hide", c.Isolation.Hide, hideDefault(), c.StateDir)
	c.Isolation.ReadOnly = l.patterns("isolation.read_only", c.Isolation.ReadOnly, readOnlyDefault(), c.StateDir)
	l.checkBudget()
	l.checkKeep()
	l.checkAttachments()
	def := c.Limits
	c.Limits = l.limits("limits", def)
	c.Tokens = l.tokens(c.TokensFile)
	l.checkOpenToAll()
	l.checkClients()
	l.finishBackends(def)
	l.checkAliases(c.Backends)
	l.checkReserved()
	l.finishImages()
	l.checkInImages()
}

// checkKeep: a durable run must be there when its client comes back, and a
// bound of nothing would be the default's again.
func (l *loader) checkKeep() {
	k := l.config.Keep
	for key, none := range map[string]bool{"keep.age": k.Age.Duration <= 0, "keep.runs": k.Runs <= 0, "keep.size": k.Size.Bytes <= 0} {
		if none && !l.bad[key] {
			l.fail(key, "", "must be more than 0")
		}
	}
}

// checkAttachments: what is fetched is held in memory until its run has begun.
func (l *loader) checkAttachments() {
	const most = 16 * bytesize.MiB
	a := l.config.Attachments
	for _, host := range a.FetchHosts {
		if _, err := egress.Parse([]string{host}); err != nil {
			l.problem(l.origins["attachments.fetch_hosts"], "attachments.fetch_hosts", err)
		}
	}
	if a.Fetch && len(a.FetchHosts) == 0 && !l.bad["attachments.fetch_hosts"] {
		l.fail("attachments.fetch_hosts", `write ["*"], or fetch = false`, "is empty: nothing could be fetched")
	}
	if n := a.FetchMax.Bytes; (n <= 0 || n > most) && !l.bad["attachments.fetch_max"] {
		l.fail("attachments.fetch_max", `a size such as "6MiB"`, "must be more than 0, and at most %s", bytesize.Human(most))
	}
	if a.FetchTimeout.Duration <= 0 && !l.bad["attachments.fetch_timeout"] {
		l.fail("attachments.fetch_timeout", "", "must be more than 0")
	}
}

func (l *loader) checkBudget() {
	if n := l.config.Budget.Memory.Bytes; n < MemoryFloor && !l.bad["budget.memory"] {
		l.fail("budget.memory", "at least 32 MiB", "%s is too small for any run", bytesize.Human(n))
	}
	if l.config.Queue.MaxWait.Duration <= 0 {
		l.fail("queue.max_wait", "queue.max_waiting = 0 turns waiting off", "must be more than 0")
	}
}
