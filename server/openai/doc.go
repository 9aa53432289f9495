// Package openai is OpenAI's dialects. It is pure: a request's bytes in, a
// dialect.Request out; steps of an answer in, frames out. The decoders are fuzzed, and
// every refusal is a web.Error that names the field.
//
// Chat completions:
//
//	body ── DecodeChat ──> dialect.Request   decode.go: messages, stream, effort
//	                                         message.go: roles, parts, tool calls
//	                                         params.go: what is refused, what is ignored
//	dialect.Step ── Chat ──> chunks          chatstream.go; wire.go has their shapes
//	             └─────────> one object      chatwhole.go
package openai
