package store

import (
	"encoding/hex"
	"fmt"
	"time"
)

// Session is one conversation a client has named. The CLI finds it again only
// with the same id, working directory and HOME.
type Session struct {
	Client     string    `json:"client"`
	Session    string    `json:"session"`
	Backend    string    `json:"backend"`
	CLISession string    `json:"cli_session,omitempty"` // the CLI's own id; "" until it told it
	Cwd        string    `json:"cwd"`
	Home       string    `json:"home,omitempty"`
	Updated    time.Time `json:"updated"`
	// LastRun is the run of its last turn, from before that is started; "" is of an earlier
	// version. Chain is of the conversation after that turn, where it may be found by it.
	LastRun string `json:"last_run,omitempty"`
	Chain   Chain  `json:"chain,omitzero"`
	OfRun   bool   `json:"of_run,omitempty"` // it goes with its LastRun
}

// ChainsName is the file in the store of the chains that there have ever been (package sessions).
const ChainsName = "chains"

// Chain is a hash over all of a conversation; zero is none.
type Chain [16]byte

// String is the chain as a session's file has it.
func (c Chain) String() string { return hex.EncodeToString(c[:]) }

// MarshalText is String.
func (c Chain) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *Chain) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(c) || len(text)%2 != 0 {
		return fmt.Errorf("chain %q: not %d bytes in hexadecimal", text, len(c))
	}
	_, err := hex.Decode(c[:], text)
	return err
}
