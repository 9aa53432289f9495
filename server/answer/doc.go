// Package answer turns a run's events into an answer in a client's dialect, streamed or
// whole. It knows no route, no queue and no handover: what ends a run, or lets its
// reader come again, the server decides.
//
//	run.Follow ──> events ─┬─ Stream (stream.go) ── steps.go, deltas.go ──> dialect.Stream
//	                       │     └ sentText (senttext.go): text that the CLI takes back
//	                       └─ Whole (whole.go): padding while it waits, then two readings:
//	                             1. answerSummary (summary.go, spans.go): what of the text is the answer
//	                             2. dialect.Whole writes it piece by piece
//
// failures.go has what a client is told of a run that did not complete.
package answer
