// Package anthropic is the dialect of Anthropic's Messages API. It is pure: a request's bytes
// in, a dialect.Request out; steps of an answer in, frames out. The decoder is fuzzed, and
// every refusal is a web.Error that names the field.
//
//	body ── DecodeMessages ──> dialect.Request   decode.go: system, tools, what is refused or ignored
//	     │                                       blocks.go: the blocks of a message
//	     └─ CountTokens: an estimate
//	dialect.Step ── Messages ──> events          stream.go; wire.go has their shapes
//	             └─────────────> one object      whole.go
package anthropic
