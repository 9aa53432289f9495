package config

// shown is the configuration in the words of the file. Backends that are only
// known by name are left out: writing them down would configure them.
func (c Config) shown() shown {
	s := shown{
		Listen: c.Listen, StateDir: c.StateDir, TokensFile: c.TokensFile,
		AllowedHosts: present(c.AllowedHosts), AllowedOrigins: present(c.AllowedOrigins), WorkspaceRoots: present(c.WorkspaceRoots),
		DrainTimeout: formatDuration(c.DrainTimeout), FirstByteAfter: formatDuration(c.FirstByteAfter),
		Isolation: shownIsolation(c.Isolation),
		Budget:    shownBudget{Memory: c.Budget.written(), MaxRuns: c.Budget.MaxRuns, Overcommit: c.Budget.Overcommit},
		Keep:      shownKeep{Age: formatDuration(c.Keep.Age), Runs: c.Keep.Runs, Size: formatSize(c.Keep.Size), MinFree: formatSize(c.Keep.MinFree)},
		Queue:     shownQueue{MaxWaiting: c.Queue.MaxWaiting, MaxWait: formatDuration(c.Queue.MaxWait)},
		Limits:    showLimits(c.Limits),
		Translate: shownTranslate{SidecarHost: c.Translate.SidecarHost, Aliases: present(c.Translate.Aliases)},
		Log:       shownLog(c.Log),
		Clients:   map[string]shownClient{},
		Backends:  map[string]shownBackend{},
	}
	s.Isolation.Hide, s.Isolation.ReadOnly = present(c.Isolation.Hide), present(c.Isolation.ReadOnly)
	for name, client := range c.Clients {
		s.Clients[name] = shownClient(client)
	}
	for name, b := range c.Backends {
		if b.Configured {
			s.Backends[name] = showBackend(b)
		}
	}
	return s
}

func showLimits(l Limits) shownLimits {
	s := shownLimits{
		MemoryMax: formatSize(l.MemoryMax), SwapMax: formatSize(l.SwapMax),
		PidsMax: l.PidsMax, CPUMax: formatCores(l.CPUMax), CPUWeight: l.CPUWeight,
		Timeout: formatDuration(l.Timeout), Stall: formatDuration(l.Stall), Grace: formatDuration(l.Grace),
		OutputMax: formatSize(l.OutputMax), LineMax: formatSize(l.LineMax),
	}
	if l.MemoryHigh > 0 {
		s.MemoryHigh = formatSize(l.MemoryHigh)
	}
	return s
}

func showBackend(b Backend) shownBackend {
	s := shownBackend{
		Kind: b.Kind, Command: b.Command, DefaultModel: b.DefaultModel, Models: b.Models, Aliases: b.Aliases,
		Env: b.Env, ExtraArgs: b.ExtraArgs, Permissions: b.Permissions,
		Home: b.Home, HomeSeed: b.HomeSeed, Cwd: b.Cwd, User: b.User, Limits: showLimits(b.Limits),
	}
	if b.Kind == "demo" {
		s.Command = nil
	}
	for name := range b.SetEnv {
		if s.SetEnv == nil {
			s.SetEnv = map[string]string{}
		}
		s.SetEnv[name] = Redacted
	}
	return s
}

// present shows an empty list as one, since nil has no form in TOML.
func present(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
