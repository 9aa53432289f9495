package backend

// jsonlBackend runs a program that speaks our own event lines (jsonl_machine.go);
// kind "demo" is the built-in one.
type jsonlBackend struct{ Config }

func newJSONL(c Config) Backend { return jsonlBackend{c} }

func (b jsonlBackend) Name() string       { return b.Config.Name }
func (b jsonlBackend) Kind() string       { return b.Config.Kind }
func (b jsonlBackend) Framing() Framing   { return Lines }
func (b jsonlBackend) Features() Features { return Features{Resume: true, Effort: true} }

// Command tells the program by environment what is not the prompt: AGENT_MODEL,
// AGENT_SESSION (what it told as session before, to be resumed), AGENT_EFFORT.
// Each is absent when the client did not ask for it.
func (b jsonlBackend) Command(r Request) (Command, error) {
	set := map[string]string{"TMPDIR": r.Tmp}
	for name, value := range map[string]string{
		"AGENT_MODEL": r.Model, "AGENT_SESSION": r.Session, "AGENT_EFFORT": r.Effort,
	} {
		if value != "" {
			set[name] = value
		}
	}
	set, pass := b.environment(set)
	return Command{
		Argv:    b.ExtraArgs,
		Set:     set,
		Pass:    pass,
		Prompt:  promptWithSystem(r),
		SoftEnd: b.Config.Kind != "demo",
		Settle:  true,
	}, nil
}

func (b jsonlBackend) Machine(Request) Machine { return &jsonlMachine{} }
