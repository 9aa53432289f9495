package dialect

import "encoding/json"

// Asked is what is kept of a request whose answer is stored: so much that the answer can be
// shown again, and continued.
type Asked struct {
	// Echo is what the answer says again of its request; small.
	Echo json.RawMessage `json:"echo,omitempty"`
	// Input are the items as they came, each with an id, without the system text that is
	// not carried over to the next turn.
	Input []json.RawMessage `json:"input,omitempty"`
	// Previous is the id of the answer that was continued; "" is none.
	Previous string `json:"previous,omitempty"`
	// System is the system text's hash: a CLI that keeps another one can't be told to forget it.
	System string `json:"system,omitempty"`
}
