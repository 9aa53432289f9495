package backend

import "strings"

// acpChoices is what a session lets its client choose. Agents offer it in the
// protocol's older form (modes, models), the newer (configOptions), or both.
type acpChoices struct {
	Modes struct {
		Current   string `json:"currentModeId"`
		Available []struct {
			ID string `json:"id"`
		} `json:"availableModes"`
	} `json:"modes"`
	Models struct {
		Current   string `json:"currentModelId"`
		Available []struct {
			ID string `json:"modelId"`
		} `json:"availableModels"`
	} `json:"models"`
	Options []acpOption `json:"configOptions"`
}

type acpOption struct {
	ID       string `json:"id"`
	Category string `json:"category"`
	Current  string `json:"currentValue"`
	Options  []struct {
		Value string `json:"value"`
	} `json:"options"`
}

func (c acpChoices) option(category string) (acpOption, bool) {
	for _, o := range c.Options {
		if o.Category == category || o.Category == "" && o.ID == category {
			return o, true
		}
	}
	return acpOption{}, false
}

// selected notes what has been chosen.
func (c acpChoices) selected(id, value string) {
	for i := range c.Options {
		if c.Options[i].ID == id {
			c.Options[i].Current = value
		}
	}
}

// hasProvider is true when any offered value is of the provider that value names.
func (o acpOption) hasProvider(value string) bool {
	provider, _, named := strings.Cut(value, "/")
	if !named || len(o.Options) == 0 {
		return true
	}
	for _, v := range o.Options {
		if strings.HasPrefix(v.Value, provider+"/") {
			return true
		}
	}
	return false
}

func (o acpOption) offers(value string) bool {
	for _, v := range o.Options {
		if v.Value == value {
			return true
		}
	}
	return false
}

// chooseMode sets the mode that the permissions ask for. An agent without such a
// mode asks us, and is answered accordingly (acp_request.go); only "plan", which
// promises that nothing is changed, can't be had that way.
func (m *acpMachine) chooseMode() {
	want := m.profile.modes[m.permissions]
	offered, current := false, m.choices.Modes.Current
	for _, mode := range m.choices.Modes.Available {
		offered = offered || mode.ID == want
	}
	option, hasOption := m.choices.option("mode")
	if !offered && hasOption {
		offered, current = option.offers(want), option.Current
	}
	switch {
	case want == "" || offered && current == want:
		m.chooseModel()
	case !offered && m.permissions == "plan":
		m.fail(providerFailure(0, "the agent has no plan mode"))
	case !offered:
		m.chooseModel()
	case len(m.choices.Modes.Available) > 0:
		m.choices.Modes.Current = want
		m.choose("session/set_mode", map[string]any{"modeId": want}, m.chooseModel)
	default:
		m.choices.selected(option.ID, want)
		m.choose("session/set_config_option", map[string]any{"configId": option.ID, "value": want}, m.chooseModel)
	}
}

// chooseModel sets the requested model. Whether it exists is the agent's word:
// lists of models are often shorter than what is taken.
func (m *acpMachine) chooseModel() {
	want := m.request.Model
	option, hasOption := m.choices.option("model")
	switch {
	case want == "" || want == option.Current || want == m.choices.Models.Current:
		m.prompt()
	case hasOption:
		if m.profile.lists && !option.hasProvider(want) {
			m.fail(noLogin("model " + bound(want, noticeMax) + ": the agent has no model of that provider: it is not logged in there, or the provider isn't configured"))
			return
		}
		m.choose("session/set_config_option", map[string]any{"configId": option.ID, "value": want}, m.prompt)
	case len(m.choices.Models.Available) > 0:
		m.choose("session/set_model", map[string]any{"modelId": want}, m.prompt)
	default:
		m.fail(providerFailure(0, "model "+want+": the agent lets nobody choose a model"))
	}
}

func (m *acpMachine) choose(method string, params map[string]any, next func()) {
	params["sessionId"] = m.session
	m.rpc.call(method, params, func(answer rpcMessage) {
		if !m.refused(method, answer) {
			next()
		}
	})
}
