// Package openai is OpenAI's dialects. It is pure: a request's bytes in, a
// dialect.Request out; steps of an answer in, frames out. The decoders are fuzzed, and
// every refusal is a web.Error that names the field.
//
// Chat completions:
//
//	body ── DecodeChat ──> dialect.Request   decode.go: messages, stream, effort
//	                                         message.go: a message and its calls; content.go: roles, parts
//	                                         sources.go: images and files
//	                                         format.go: the shape of the answer; params.go: what is refused
//	dialect.Step ── Chat ──> chunks          chatstream.go; wire.go has their shapes
//	             └─────────> one object      chatwhole.go
//
// Responses:
//
//	body ── DecodeResponses ──> Request      responses.go; responsesinput.go: items as turns of a conversation
//	                            └─ Echo      echo.go: what a response says again of its request
//	                            └─ Asked     asked.go: the items that are kept, as turns again, and listed
//	dialect.Step ──> outputItems             items.go: which item of the output a step is of
//	   ── Responses ──> events               responsesstream.go; responsesheld.go: what is told again at an end
//	   └─────────────> one object            responseswhole.go; outcomes.go goes ahead to how a call ends
//	                                         responseswire.go, responsesevents.go: their shapes
package openai
