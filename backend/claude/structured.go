package claude

import (
	"penstock/backend"
	"penstock/backend/parse"
)

// structuredTool is the tool that the CLI gives the model for an answer that keeps to a
// schema. Its input is held to the schema, and is the answer.
const structuredTool = "StructuredOutput"

// schemaRefused is what a missing tool says: the CLI drops a schema that it can't compile
// without a word (2.1.330).
func schemaRefused() *backend.Failure {
	return &backend.Failure{Code: "invalid_output",
		Message: "claude does not take this schema, and says nothing of why (hint: its patterns must be JavaScript's)"}
}

// structured is what events of a turn come to whose answer keeps to a schema: thinking and
// tools, and at the end the JSON and no other text.
func (c *conversation) structured(events []backend.Event) []backend.Event {
	kept := events[:0]
	for _, e := range events {
		switch {
		case e.Kind == backend.Text, e.Kind == backend.Void, e.Kind == backend.ToolUse && e.Tool.Name == structuredTool:
		case e.Kind == backend.Done:
			kept = append(kept, c.verdict(e)...)
		default:
			kept = append(kept, e)
		}
	}
	return kept
}

// verdict is the end of a turn that the CLI calls a good one. It does so too where the
// model was asked a second time for an answer in the form and gave none.
func (c *conversation) verdict(done backend.Event) []backend.Event {
	switch {
	case len(c.output) > 0:
		return []backend.Event{{Kind: backend.Text, Text: parse.Clean(c.output)}, {Kind: backend.Done, Finish: "stop"}}
	case done.Finish != "stop":
		return []backend.Event{done}
	}
	return c.fail(&backend.Failure{Code: "invalid_output",
		Message: parse.Bound("the model gave no answer that keeps to the schema; its last words: "+c.words, parse.FailureMax)})
}
