// Package dialect is what the server's dialects have in common: what a client asks for, and
// what it is told of a run, whatever it speaks. It is pure: values in, values out.
//
//	body ── a dialect's decoder ──> Request     request.go: the fields of all dialects; limits.go
//	                                  │           message.go: turns, images, files
//	                                  ├─ Prompt        prompt.go: a conversation as one text
//	                                  ├─ Asked         what a stored answer keeps of it
//	                                  └─ Fingerprint   fingerprint.go: are two requests the same
//
//	a run's events ── package answer ──> Step, End ──> Stream or Whole, a dialect's encoder
//	                                     step.go: the contract of both sides
//	                                     ids.go: ids of answers and of their items
//	                                     jsontext.go: a long JSON string, written piecewise
package dialect
