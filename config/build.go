package config

import "time"

// builder turns settings into a Config, checking what only the whole can tell.
type builder struct {
	*layers
	env map[string]string
}

func (b *builder) config() Config {
	c := Config{
		Listen:         b.listen(),
		StateDir:       b.stateDir(),
		TokensFile:     b.tokensFile(),
		AllowedHosts:   b.hosts("allowed_hosts"),
		AllowedOrigins: b.origins("allowed_origins"),
		WorkspaceRoots: b.workspaceRoots(),
		DrainTimeout:   value[time.Duration](b.layers, "drain_timeout"),
		FirstByteAfter: value[time.Duration](b.layers, "first_byte_after"),
		Isolation: Isolation{
			Mode:            value[string](b.layers, "isolation.mode"),
			SelfTest:        value[bool](b.layers, "isolation.self_test"),
			AbstractSockets: value[bool](b.layers, "isolation.abstract_sockets"),
		},
		Budget: Budget{
			Memory:     value[int64](b.layers, "budget.memory"),
			MaxRuns:    int(value[int64](b.layers, "budget.max_runs")),
			Overcommit: value[bool](b.layers, "budget.overcommit"),
		},
		Keep: Keep{
			Age:  value[time.Duration](b.layers, "keep.age"),
			Runs: int(value[int64](b.layers, "keep.runs")),
			Size: value[int64](b.layers, "keep.size"),

			MinFree: value[int64](b.layers, "keep.min_free"),
		},
		Queue: Queue{
			MaxWaiting: int(value[int64](b.layers, "queue.max_waiting")),
			MaxWait:    value[time.Duration](b.layers, "queue.max_wait"),
		},
		Translate: Translate{
			SidecarHost: b.hostName("translate.sidecar_host"),
			Aliases:     b.hosts("translate.aliases"),
		},
		Log: Log{
			Level:  value[string](b.layers, "log.level"),
			Format: value[string](b.layers, "log.format"),
		},
	}
	c.Isolation.Hide = b.hidden("isolation.hide", hideDefault(), c.StateDir)
	c.Isolation.ReadOnly = b.hidden("isolation.read_only", readOnlyDefault(), c.StateDir)
	if sh, ok := b.settings["budget.memory"].value.(share); ok {
		c.Budget.Percent = sh.percent
	}
	b.checkBudget(c.Budget)
	b.checkKeep(c.Keep)
	c.Limits = b.limits("limits", c.Budget)
	c.Tokens = b.tokens(c.TokensFile)
	b.checkOpenToAll(c)
	c.Clients = b.clientTable(c)
	c.Backends = b.backendTable(c)
	b.checkAliases(c.Backends)
	b.checkBeside(c)
	return c
}

// checkKeep: a durable run must be there when its client comes back, and a
// bound of nothing would be the default's again.
func (b *builder) checkKeep(k Keep) {
	for key, none := range map[string]bool{"keep.age": k.Age <= 0, "keep.runs": k.Runs <= 0, "keep.size": k.Size <= 0} {
		if none && !b.bad[key] {
			b.reject(key, "", "must be more than 0")
		}
	}
}

func (b *builder) checkBudget(budget Budget) {
	if budget.Memory < MemoryFloor && !b.bad["budget.memory"] {
		b.reject("budget.memory", "at least 32 MiB", "%s is too small for any run", Size(budget.Memory))
	}
	if d := value[time.Duration](b.layers, "queue.max_wait"); d <= 0 {
		b.reject("queue.max_wait", "queue.max_waiting = 0 turns waiting off", "must be more than 0")
	}
}
