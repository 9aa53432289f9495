package backend

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
)

// acpBackend is an agent of the Agent Client Protocol, version 1
// (agentclientprotocol.com): JSON-RPC lines on stdio.
type acpBackend struct {
	Config
	profile acpProfile
}

// acpProfile is where an agent differs from the protocol, or needs more than it.
type acpProfile struct {
	argv []string
	set  map[string]string
	pass []string
	// script is how its runtime is told to load provider.cjs, as a name and a
	// value for the environment; nil, or no name, where it can't be.
	script func(Request) (name, value string)
	// refusals and breaks are how many model calls may be refused or break in a
	// row before the turn is ended; 0 leaves it to the agent.
	refusals, breaks int
	// modes are the agent's own words for our permissions "bypass" and "plan".
	modes map[string]string
	// verify: the agent tries broken streams again without a word; where the
	// script tells nothing, the text it keeps is asked for at the turn's end
	// (acp_verify.go).
	verify bool
	// tally: the agent tells tokens, and shows failed turns, only by its /usage
	// command (kimi_tally.go).
	tally bool
	// lists: its list of models has all that its logins give, by provider.
	lists bool
	// chatter is what the agent says of itself in the model's place.
	chatter *regexp.Regexp
	// close: the agent has saved the session only once it has closed it.
	close bool
}

// newACP is any agent: the configured command speaks the protocol by itself.
func newACP(c Config) Backend {
	return acpBackend{c, acpProfile{modes: map[string]string{"plan": "plan"}}}
}

func (b acpBackend) Name() string     { return b.Config.Name }
func (b acpBackend) Kind() string     { return b.Config.Kind }
func (b acpBackend) Framing() Framing { return Lines }

// Features: the protocol has no system text and no effort.
func (b acpBackend) Features() Features { return Features{Resume: true} }

func (b acpBackend) Command(r Request) (Command, error) {
	switch mode := b.permissions(r); mode {
	case "bypass", "plan", "default":
	default:
		return Command{}, fmt.Errorf("%s: permissions %q: use bypass, plan or default", b.Config.Kind, mode)
	}
	own := map[string]string{"TMPDIR": r.Tmp}
	maps.Copy(own, b.profile.set)
	var files []File
	if b.profile.script != nil {
		if name, value := b.profile.script(r); name != "" {
			own[name], files = value, providerFiles()
		}
	}
	set, pass := b.environment(own, b.profile.pass...)
	return Command{
		Argv:  slices.Concat(b.profile.argv, b.ExtraArgs),
		Set:   set,
		Pass:  pass,
		Input: Conversation,
		Files: files,
	}, nil
}

func (b acpBackend) Machine(r Request) Machine {
	return newACPMachine(b.profile, r, b.permissions(r))
}
