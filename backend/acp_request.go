package backend

// asked answers the agent's requests. Files and terminals were not offered in
// initialize; nobody is there for any other question.
func (m *acpMachine) asked(request rpcMessage) {
	if request.Method != "session/request_permission" {
		m.rpc.refuse(request.ID, rpcMethodNotFound, request.Method+": not offered by this client")
		return
	}
	var params struct {
		Options []acpPermission `json:"options"`
	}
	decode(request.Params, &params)
	outcome := map[string]any{"outcome": "cancelled"}
	if id := choosePermission(params.Options, m.permissions == "bypass"); id != "" {
		outcome = map[string]any{"outcome": "selected", "optionId": id}
	}
	m.rpc.reply(request.ID, map[string]any{"outcome": outcome})
}

type acpPermission struct {
	ID   string `json:"optionId"`
	Kind string `json:"kind"` // allow_once, allow_always, reject_once, reject_always
}

// choosePermission is the option to take; "" is none. Once is better than
// always, which some agents write into the user's configuration.
func choosePermission(options []acpPermission, allow bool) string {
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
