package main

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"

	"penstock/backend"
)

// scenario is one thing to record. The markers are those of test/model.
type scenario struct {
	name    string
	prompt  string
	before  string // an earlier turn of the same session, not recorded
	system  string
	retry   bool   // with the CLI's own retries on
	kill    int    // SIGKILL after so many text events, and the last line cut in half
	session string // to resume, known or not

	converse bool // spoken to, where the prompt would else be a file
	images   int
	damaged  bool // the images are cut short
	schema   string
	again    string   // a second prompt in the same process
	model    string   // "" is the seeded one
	clis     []string // nil is all
}

func (s scenario) of(cli string) bool { return s.clis == nil || slices.Contains(s.clis, cli) }

// apply puts what the scenario asks for into a request.
func (s scenario) apply(r *backend.Request) {
	r.Converse = s.converse
	if s.schema != "" {
		r.Schema = json.RawMessage(s.schema)
	}
	if s.model != "" {
		r.Model = s.model
	}
	if s.session != "" {
		r.Session = s.session
	}
	for _, data := range squares()[:s.images] {
		if s.damaged {
			data = data[:len(data)/2]
		}
		r.Attachments = append(r.Attachments, backend.Attachment{Name: "square.png", Type: "image/png", Data: data})
	}
}

// squares are two PNG images that differ in a shade.
func squares() [][]byte {
	var all [][]byte
	for _, text := range []string{
		"iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAGElEQVR4nGJigAImhhQGVMBECgMQAAD//xo4AHOLktjkAAAAAElFTkSuQmCC",
		"iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAGElEQVR4nGJigAImhlQGVMBECgMQAAD//xp1AHRDyqUuAAAAAElFTkSuQmCC",
	} {
		data, _ := base64.StdEncoding.DecodeString(text)
		all = append(all, data)
	}
	return all
}

const person = `{"type":"object","properties":{"name":{"type":"string"},"age":{"type":"integer"}},"required":["name","age"],"additionalProperties":false}`

func table() []scenario {
	spoken, claudeOnly, told := []string{"claude", "gemini", "pi"}, []string{"claude"}, []string{"gemini", "kimi", "opencode", "pi"}
	geminiOnly, others := []string{"gemini"}, []string{"codex", "gemini", "kimi", "opencode"}
	return []scenario{
		{name: "text", prompt: "SCN=text N=4"},
		{name: "system", prompt: "SCN=text N=2", system: "Answer in the voice of a lighthouse keeper."},
		{name: "think", prompt: "SCN=think N=3"},
		{name: "tool", prompt: "SCN=tool CMD{{echo from-the-tool}}"},
		{name: "empty", prompt: "SCN=empty"},
		{name: "cut", prompt: "SCN=cut N=3"},
		{name: "refusal", prompt: "SCN=refusal"},
		{name: "refusal-text", prompt: "SCN=refusal N=3"},
		{name: "halves", prompt: "SCN=halves N=3"},
		{name: "e400", prompt: "SCN=e400"},
		{name: "e401", prompt: "SCN=e401"},
		{name: "e429", prompt: "SCN=e429"},
		{name: "e500", prompt: "SCN=e500"},
		{name: "mid", prompt: "SCN=mid N=3"},
		{name: "abrupt", prompt: "SCN=abrupt N=3"},
		{name: "void", prompt: "SCN=void N=3", retry: true},
		{name: "void-event", prompt: "SCN=void N=3 BREAK=event", retry: true},
		{name: "resume", prompt: "SCN=text N=2 RECALL", before: "SCN=text N=2 REMEMBER{{heron}}"},
		{name: "killed", prompt: "SCN=long N=40 DELAY=100", kill: 3},
		// claude, gemini and pi, spoken to; the others always are.
		{name: "converse-text", prompt: "SCN=text N=4", converse: true, clis: spoken},
		{name: "converse-system", prompt: "SCN=text N=2", system: "Answer in the voice of a lighthouse keeper.", converse: true, clis: spoken},
		{name: "converse-think", prompt: "SCN=think N=3", converse: true, clis: spoken},
		{name: "converse-tool", prompt: "SCN=tool CMD{{echo from-the-tool}}", converse: true, clis: spoken},
		{name: "converse-cut", prompt: "SCN=cut N=3", converse: true, clis: spoken},
		{name: "converse-refusal", prompt: "SCN=refusal", converse: true, clis: spoken},
		{name: "converse-e401", prompt: "SCN=e401", converse: true, clis: spoken},
		{name: "converse-abrupt", prompt: "SCN=abrupt N=3", converse: true, clis: spoken},
		{name: "converse-void", prompt: "SCN=void N=3", retry: true, converse: true, clis: spoken},
		{name: "converse-resume", prompt: "SCN=text N=2 RECALL", before: "SCN=text N=2 REMEMBER{{heron}}", converse: true, clis: spoken},
		{name: "converse-killed", prompt: "SCN=long N=40 DELAY=100", kill: 3, converse: true, clis: spoken},
		{name: "converse-again", prompt: "SCN=text N=1 SAY{{one}}", again: "SCN=text N=1 SAY{{two}}", converse: true},
		{name: "images", prompt: "SCN=text N=1 SEES", images: 2, converse: true},
		{name: "images-blind", prompt: "SCN=text N=1 SEES", images: 1, model: "fake/blind", converse: true, clis: []string{"opencode", "pi"}},
		{name: "images-resumed", prompt: "SCN=text N=1 SEES RECALL", before: "SCN=text N=1 REMEMBER{{heron}}", images: 1, converse: true, clis: others},
		{name: "images-damaged", prompt: "SCN=text N=1 SEES", images: 1, damaged: true, converse: true, clis: others},
		// gemini's two forms have all but the session in different words.
		{name: "converse-empty", prompt: "SCN=empty", converse: true, clis: geminiOnly},
		{name: "converse-refusal-text", prompt: "SCN=refusal N=3", converse: true, clis: geminiOnly},
		{name: "converse-halves", prompt: "SCN=halves N=3", converse: true, clis: geminiOnly},
		{name: "converse-e400", prompt: "SCN=e400", converse: true, clis: geminiOnly},
		{name: "converse-e429", prompt: "SCN=e429", converse: true, clis: geminiOnly},
		{name: "converse-e500", prompt: "SCN=e500", converse: true, clis: geminiOnly},
		{name: "converse-mid", prompt: "SCN=mid N=3", converse: true, clis: geminiOnly},
		{name: "converse-void-event", prompt: "SCN=void N=3 BREAK=event", retry: true, converse: true, clis: geminiOnly},
		{name: "converse-unknown", prompt: "SCN=text", session: "00000000-0000-4000-8000-000000000404", converse: true, clis: claudeOnly},
		// A schema that the CLI is told, and the answer held to here.
		{name: "told", prompt: `SCN=only SAY{{{"name":"Ada","age":36}}}`, schema: person, converse: true, clis: told},
		{name: "told-mended", prompt: `SCN=only SAY{{She is "Ada", and 36.}} THEN{{{"name":"Ada","age":36}}}`, schema: person, converse: true, clis: told},
		{name: "told-wrong", prompt: `SCN=only SAY{{{"name":"Ada"}}}`, schema: person, converse: true, clis: told},
		{name: "told-cut", prompt: `SCN=cut N=2 SAY{{{"name":"Ad}}`, schema: person, converse: true, clis: told},
		// codex hands it on to the provider.
		{name: "schema", prompt: `SCN=only SAY{{{"name":"Ada","age":36}}}`, schema: person, converse: true, clis: []string{"codex"}},
		{name: "schema-mended", prompt: `SCN=only SAY{{She is "Ada", and 36.}} THEN{{{"name":"Ada","age":36}}}`, schema: person, converse: true, clis: []string{"codex"}},
		// claude's own structured output.
		{name: "schema", prompt: `SCN=tool LEAD{{I think so.}} CALL{{StructuredOutput {"name":"Ada","age":36}}}`, schema: person, converse: true, clis: claudeOnly},
		{name: "schema-mended", prompt: `SCN=tool CALL{{StructuredOutput {"name":"Ada","age":"x"}}} CALL{{StructuredOutput {"name":"Ada","age":36}}}`, schema: person, converse: true, clis: claudeOnly},
		{name: "schema-later", prompt: `SCN=later N=2 CALL{{StructuredOutput {"name":"Ada","age":36}}}`, schema: person, converse: true, clis: claudeOnly},
		{name: "schema-tool", prompt: `SCN=tool CALL{{Bash {"command":"echo from-the-tool","description":"x"}}} CALL{{StructuredOutput {"name":"Ada","age":36}}}`, schema: person, converse: true, clis: claudeOnly},
		{name: "schema-never", prompt: "SCN=only SAY{{no JSON from me}}", schema: person, converse: true, clis: claudeOnly},
		{name: "schema-wrong", prompt: "SCN=tool" + strings.Repeat(` CALL{{StructuredOutput {"name":"Ada","age":"x"}}}`, 9), schema: person, converse: true, clis: claudeOnly},
		{name: "schema-cut", prompt: "SCN=cut N=3", schema: person, converse: true, clis: claudeOnly},
		{name: "schema-refusal", prompt: "SCN=refusal", schema: person, converse: true, clis: claudeOnly},
		{name: "schema-e429", prompt: "SCN=e429", schema: person, converse: true, clis: claudeOnly},
		{name: "schema-dropped", prompt: "SCN=only SAY{{x}}", schema: `{"type":"object","properties":{"name":{"pattern":"(?i)x"}}}`, converse: true, clis: claudeOnly},
	}
}
