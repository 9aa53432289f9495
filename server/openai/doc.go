// Package openai is the wire forms of OpenAI's chat completions: what a request says,
// and what an answer looks like. It is pure: bytes in, values out, and the decoders
// are fuzzed. Every refusal is a web.Error that names the field.
//
//	body ── Decode ──> Request      decode.go: model, stream, session, metadata
//	                     │            message.go: roles, parts, tool calls
//	                     │            params.go: what is refused, what is ignored
//	                     │            limits.go: "512MiB", "150%"
//	                     ├─ Prompt        prompt.go: a conversation as one text
//	                     └─ Fingerprint   fingerprint.go: are two requests the same
//
//	Completion, Delta, Usage ──> JSON   wire.go; jsontext.go writes a long string piecewise
package openai
