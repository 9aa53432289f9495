// Package provider follows the model calls inside a CLI. provider.cjs is loaded
// into its runtime (node, Bun) before the CLI's own code, and writes a line to stdout
// for each call: begun, refused with its status, broken, finished with its reason.
// That is what a CLI's own words leave out when it tries again or calls a failed
// turn a good one.
package provider

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"penstock/backend"
	"penstock/backend/parse"
)

// NodeHeap makes node collect its garbage before the kernel ends the run: it
// sizes its heap by the host's memory and doesn't look at the group's limit.
// Three quarters leave room for what is not heap. "" without a limit.
func NodeHeap(memoryMax int64) string {
	mib := memoryMax / 4 * 3 >> 20
	if mib <= 0 {
		return ""
	}
	return "--max-old-space-size=" + strconv.FormatInt(mib, 10)
}

//go:embed provider.cjs
var script []byte

// scriptFile is the script, that the CLI's runtime loads before the CLI, in
// the run's directory.
const scriptFile = "provider.cjs"

func Files() []backend.File { return []backend.File{{Name: scriptFile, Data: script}} }

// NodeOptions is NODE_OPTIONS (node 22) with the script and a heap that fits the
// memory limit. Node splits it at spaces; within double quotes a backslash
// stands before a character that is meant as it is.
func NodeOptions(r backend.Request) string {
	file := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path.Join(r.Dir, scriptFile))
	options := `--require="` + file + `"`
	if heap := NodeHeap(r.MemoryMax); heap != "" {
		options += " " + heap
	}
	return options
}

// BunPreload makes a program that Bun (1.3.14) was compiled into load the script.
// BUN_OPTIONS does not reach such a program. The path is taken as it is, but Bun
// fails on one with a backslash.
func BunPreload(r backend.Request) (name, value string) {
	file := path.Join(r.Dir, scriptFile)
	if strings.Contains(file, `\`) {
		return "", ""
	}
	return "BUN_INSPECT_PRELOAD", file
}

// NodeRequire is the same for node.
func NodeRequire(r backend.Request) (name, value string) { return "NODE_OPTIONS", NodeOptions(r) }

// Line is a line of provider.cjs.
type Line struct {
	Type    string `json:"type"`
	Code    int    `json:"code"`    // provider_refused: the HTTP status
	Reason  string `json:"reason"`  // provider_finished: as the provider has it
	Message string `json:"message"` // provider_refused, provider_broken
	Models
}

// Models are those of opencode's, by whether they take images (provider_models).
type Models struct {
	Sees  []string `json:"sees"`
	Blind []string `json:"blind"`
}

// TellModels is the variable that has the script tell them.
const TellModels = "TELL_MODELS"

// Told is true once they were told, which is only where the prompt has images.
func (m Models) Told() bool { return len(m.Sees)+len(m.Blind) > 0 }

// Take tells whether a model takes images, where that is known. Its name may have a
// variant after it.
func (m Models) Take(model string) (sees, known bool) {
	for {
		if slices.Contains(m.Sees, model) {
			return true, true
		}
		if slices.Contains(m.Blind, model) {
			return false, true
		}
		i := strings.LastIndexByte(model, '/')
		if i < 0 {
			return false, false
		}
		model = model[:i]
	}
}

func ParseLine(line []byte) (Line, bool) {
	var l Line
	if !bytes.HasPrefix(line, []byte(`{"type":"provider_`)) {
		return l, false
	}
	return l, json.Unmarshal(line, &l) == nil
}

// Calls follows the agent's model calls, one after the other.
type Calls struct {
	Told     bool   // there is such a line at all: the runtime took the script
	Start    int    // answer text before the current call
	Refused  int    // HTTP status of the last call; 0 when it was accepted
	Broken   string // why the last call's stream broke, or there was none
	message  string // of a refusal
	Finish   string // of the last call that came to an end
	refusals int    // calls refused since one came to an end
	breaks   int    // likewise broken
}

// Take follows one line. The text of a broken stream is void once there is
// another call: only then has all of it come.
func (c *Calls) Take(l Line, text *parse.Answer) []backend.Event {
	c.Told = true
	var events []backend.Event
	switch l.Type {
	case "provider_call":
		events = c.retry(text)
		c.Start, c.Broken, c.Refused = text.Sent, "", 0
	case "provider_broken":
		c.Broken = parse.Bound(l.Message, parse.NoticeMax)
		if c.Broken == "" {
			c.Broken = "the stream broke"
		}
		c.breaks++
	case "provider_finished":
		c.Finish, c.refusals, c.breaks = l.Reason, 0, 0
	case "provider_refused":
		c.Refused, c.message = l.Code, parse.Bound(l.Message, parse.NoticeMax)
		c.refusals++
	}
	return events
}

// retry tells that the call before this one failed.
func (c *Calls) retry(text *parse.Answer) []backend.Event {
	cause := c.Broken
	if c.Refused != 0 {
		cause = fmt.Sprintf("status %d", c.Refused)
	}
	if cause == "" {
		return nil
	}
	notice := "the model's provider failed, the CLI tries again: " + cause
	return append(text.Void(c.Start), backend.Event{Kind: backend.Notice, Text: parse.Bound(notice, parse.NoticeMax)})
}

// Hopeless is the failure of a run whose calls fail again and again in a way
// that CLIs try again; nil before so many refusals or breaks. 0 is no limit.
func (c *Calls) Hopeless(refusals, breaks int) *backend.Failure {
	passing := c.Refused == 429 || c.Refused >= 500
	if passing && refusals > 0 && c.refusals >= refusals || c.Broken != "" && breaks > 0 && c.breaks >= breaks {
		return c.Failure()
	}
	return nil
}

// Failure is what the last model call came to; nil when it did not fail.
func (c *Calls) Failure() *backend.Failure {
	switch {
	case c.Refused != 0:
		return parse.ProviderFailure(c.Refused, strings.TrimSpace(fmt.Sprintf("the model's provider answered %d: %s", c.Refused, c.message)))
	case c.Broken != "":
		f := parse.ProviderFailure(0, "the model's answer broke off: "+c.Broken)
		f.Code = "provider_error"
		return f
	}
	return nil
}
