package backend

import (
	"bytes"
	_ "embed" // provider.cjs
	"encoding/json"
	"fmt"
	"path"
	"strings"
)

//go:embed provider.cjs
var providerScript []byte

// providerFile is the script, that the CLI's runtime loads before the CLI, in
// the run's directory.
const providerFile = "provider.cjs"

func providerFiles() []File { return []File{{Name: providerFile, Data: providerScript}} }

// nodeOptions is NODE_OPTIONS (node 22) with the script and a heap that fits the
// memory limit. Node splits it at spaces; within double quotes a backslash
// stands before a character that is meant as it is.
func nodeOptions(r Request) string {
	file := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path.Join(r.Dir, providerFile))
	options := `--require="` + file + `"`
	if heap := nodeHeap(r.MemoryMax); heap != "" {
		options += " " + heap
	}
	return options
}

// bunPreload makes a program that Bun (1.3.14) was compiled into load the script.
// BUN_OPTIONS does not reach such a program. The path is taken as it is, but Bun
// fails on one with a backslash.
func bunPreload(r Request) (name, value string) {
	file := path.Join(r.Dir, providerFile)
	if strings.Contains(file, `\`) {
		return "", ""
	}
	return "BUN_INSPECT_PRELOAD", file
}

// nodeRequire is the same for node.
func nodeRequire(r Request) (name, value string) { return "NODE_OPTIONS", nodeOptions(r) }

// providerLine is a line of provider.cjs.
type providerLine struct {
	Type    string `json:"type"`
	Code    int    `json:"code"`    // provider_refused: the HTTP status
	Reason  string `json:"reason"`  // provider_finished: as the provider has it
	Message string `json:"message"` // provider_refused, provider_broken
}

func parseProviderLine(line []byte) (providerLine, bool) {
	var l providerLine
	if !bytes.HasPrefix(line, []byte(`{"type":"provider_`)) {
		return l, false
	}
	return l, json.Unmarshal(line, &l) == nil
}

// providerCalls follows the agent's model calls, one after the other.
type providerCalls struct {
	told     bool   // there is such a line at all: the runtime took the script
	start    int    // answer text before the current call
	refused  int    // HTTP status of the last call; 0 when it was accepted
	broken   string // why the last call's stream broke, or there was none
	message  string // of a refusal
	finish   string // of the last call that came to an end
	refusals int    // calls refused since one came to an end
	breaks   int    // likewise broken
}

// take follows one line. The text of a broken stream is void once there is
// another call: only then has all of it come.
func (c *providerCalls) take(l providerLine, text *answer) []Event {
	c.told = true
	var events []Event
	switch l.Type {
	case "provider_call":
		events = c.retry(text)
		c.start, c.broken, c.refused = text.sent, "", 0
	case "provider_broken":
		c.broken = bound(l.Message, noticeMax)
		if c.broken == "" {
			c.broken = "the stream broke"
		}
		c.breaks++
	case "provider_finished":
		c.finish, c.refusals, c.breaks = l.Reason, 0, 0
	case "provider_refused":
		c.refused, c.message = l.Code, bound(l.Message, noticeMax)
		c.refusals++
	}
	return events
}

// retry tells that the call before this one failed.
func (c *providerCalls) retry(text *answer) []Event {
	cause := c.broken
	if c.refused != 0 {
		cause = fmt.Sprintf("status %d", c.refused)
	}
	if cause == "" {
		return nil
	}
	notice := "the model's provider failed, the CLI tries again: " + cause
	return append(text.void(c.start), Event{Kind: Notice, Text: bound(notice, noticeMax)})
}

// hopeless is the failure of a run whose calls fail again and again in a way
// that CLIs try again; nil before so many refusals or breaks. 0 is no limit.
func (c *providerCalls) hopeless(refusals, breaks int) *Failure {
	passing := c.refused == 429 || c.refused >= 500
	if passing && refusals > 0 && c.refusals >= refusals || c.broken != "" && breaks > 0 && c.breaks >= breaks {
		return c.failure()
	}
	return nil
}

// failure is what the last model call came to; nil when it did not fail.
func (c *providerCalls) failure() *Failure {
	switch {
	case c.refused != 0:
		return providerFailure(c.refused, strings.TrimSpace(fmt.Sprintf("the model's provider answered %d: %s", c.refused, c.message)))
	case c.broken != "":
		f := providerFailure(0, "the model's answer broke off: "+c.broken)
		f.Code = "provider_error"
		return f
	}
	return nil
}
