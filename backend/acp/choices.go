package acp

import (
	"strings"

	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
)

// choices is what a session lets its client choose. Agents offer it in the
// protocol's older form (modes, models), the newer (configOptions), or both.
type choices struct {
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
	Options []configOption `json:"configOptions"`
}

type configOption struct {
	ID       string `json:"id"`
	Category string `json:"category"`
	Current  string `json:"currentValue"`
	Options  []struct {
		Value string `json:"value"`
	} `json:"options"`
}

func (c choices) option(category string) (configOption, bool) {
	for _, o := range c.Options {
		if o.Category == category || o.Category == "" && o.ID == category {
			return o, true
		}
	}
	return configOption{}, false
}

// selected notes what has been chosen.
func (c choices) selected(id, value string) {
	for i := range c.Options {
		if c.Options[i].ID == id {
			c.Options[i].Current = value
		}
	}
}

// hasProvider is true when any offered value is of the provider that value names.
func (o configOption) hasProvider(value string) bool {
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

func (o configOption) offers(value string) bool {
	for _, v := range o.Options {
		if v.Value == value {
			return true
		}
	}
	return false
}

// chooseMode sets the mode that the permissions ask for. An agent without such a
// mode asks us, and is answered accordingly (asked); only "plan", which
// promises that nothing is changed, can't be had that way.
func (m *machine) chooseMode() {
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
		m.fail(parse.ProviderFailure(0, "the agent has no plan mode"))
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
func (m *machine) chooseModel() {
	want := m.request.Model
	option, hasOption := m.choices.option("model")
	switch {
	case want == "" || want == option.Current || want == m.choices.Models.Current:
		m.prompt()
	case hasOption:
		if m.profile.lists && !option.hasProvider(want) {
			m.fail(parse.NoLogin("model " + parse.Bound(want, parse.NoticeMax) + ": the agent has no model of that provider: it is not logged in there, or the provider isn't configured"))
			return
		}
		m.choose("session/set_config_option", map[string]any{"configId": option.ID, "value": want}, m.prompt)
	case len(m.choices.Models.Available) > 0:
		m.choose("session/set_model", map[string]any{"modelId": want}, m.prompt)
	default:
		m.fail(parse.ProviderFailure(0, "model "+want+": the agent lets nobody choose a model"))
	}
}

func (m *machine) choose(method string, params map[string]any, next func()) {
	params["sessionId"] = m.session
	m.rpc.Call(method, params, func(answer jsonrpc.Message) {
		if !m.refused(method, answer) {
			next()
		}
	})
}

// asked answers the agent's requests. Files and terminals were not offered in
// initialize; no person is there for any other question.
func (m *machine) asked(request jsonrpc.Message) {
	if request.Method != "session/request_permission" {
		m.rpc.Refuse(request.ID, jsonrpc.MethodNotFound, request.Method+": not offered by this client")
		return
	}
	var params struct {
		Call    permissionCall `json:"toolCall"`
		Options []permission   `json:"options"`
	}
	parse.Decode(request.Params, &params)
	outcome := map[string]any{"outcome": "cancelled"}
	if id := choosePermission(params.Options, m.permissions == "bypass" || m.ownDocument(params.Call)); id != "" {
		outcome = map[string]any{"outcome": "selected", "optionId": id}
	}
	m.rpc.Reply(request.ID, map[string]any{"outcome": outcome})
}

type permission struct {
	ID   string `json:"optionId"`
	Kind string `json:"kind"` // allow_once, allow_always, reject_once, reject_always
}

// choosePermission is the option to take; "" is none. Once is better than
// always, which some agents write into the user's configuration.
func choosePermission(options []permission, allow bool) string {
	kinds := []string{"reject_once", "reject_always"}
	if allow {
		kinds = []string{"allow_once", "allow_always"}
	}
	for _, kind := range kinds {
		for _, o := range options {
			if o.Kind == kind {
				return o.ID
			}
		}
	}
	return ""
}
