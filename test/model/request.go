package model

import (
	"net/http"
	"time"
)

// Outcome is how the server's answer to a request ended.
type Outcome string

const (
	Pending  Outcome = ""         // still being answered
	Complete Outcome = "complete" // whole answer written
	Refused  Outcome = "refused"  // error status
	Broken   Outcome = "broken"   // broken off by the script
	Gone     Outcome = "gone"     // the client left, or the server was closed
)

// Request is one request to a model endpoint, as logged for assertions.
type Request struct {
	Number     int // place in the log, from 0
	Time       time.Time
	Path       string
	AuthHeader string // name of the credential's header, "" for none
	Auth       string // its value
	Model      string
	Stream     bool
	Scenario   string
	System     string   // system and developer text
	LastUser   string   // last user text with a marker, else the last user text
	Users      []string // all user text blocks
	UserTurns  int      // user texts with a marker
	UserTexts  int      // all user text blocks, context and reminders with them
	Images     []Image  // of LastUser's turn, with those that tools gave since
	ToolResult string   // result of a tool after LastUser
	Tools      []string // names offered
	Bytes      int      // size of the request body
	Outcome    Outcome
}

func newRequest(r *http.Request, size int, c conversation, s script) Request {
	out := Request{
		Time:      time.Now(),
		Path:      r.URL.Path,
		Model:     c.model,
		Stream:    c.stream,
		Scenario:  s.scenario,
		System:    c.system,
		LastUser:  c.lastUser(),
		UserTurns: c.marked(),
		Bytes:     size,
		Images:    c.images(),
	}
	for _, t := range c.turns {
		if t.kind == userTurn {
			out.UserTexts++
			out.Users = append(out.Users, t.text)
		}
	}
	for _, t := range c.tools {
		out.Tools = append(out.Tools, t.name)
	}
	out.ToolResult, _ = c.toolResult()
	for _, h := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key"} {
		if v := r.Header.Get(h); v != "" {
			out.AuthHeader, out.Auth = h, v
		}
	}
	return out
}
