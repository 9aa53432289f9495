package server

import (
	"log/slog"

	"penstock/run"
	"penstock/server/web"
)

// logAttrs returns the access-log attributes of the job's run; own tells that the
// request has launched it. An answer's text, a prompt, or what a CLI wrote is never
// among them.
func (j *job) logAttrs(own bool) []slog.Attr {
	attrs := []slog.Attr{slog.String("backend", j.backend), slog.String("model", j.model)}
	if !j.begun() {
		return attrs
	}
	if own {
		attrs = append(attrs, slog.Float64("queue_seconds", web.Seconds(j.waited)))
	}
	if j.err != nil {
		return attrs
	}
	return append(attrs, runAttrs(j.run.Record())...)
}

// runAttrs is how a run went, once it has ended.
func runAttrs(r run.Record) []slog.Attr {
	var attrs []slog.Attr
	if r.Started != nil && r.Ended != nil {
		attrs = append(attrs, slog.Float64("run_seconds", web.Seconds(r.Ended.Sub(*r.Started))))
	}
	if r.Exit != nil {
		attrs = append(attrs, slog.Int("exit_code", *r.Exit))
	}
	if r.Signal != "" {
		attrs = append(attrs, slog.String("signal", r.Signal))
	}
	if r.Receipt != nil {
		attrs = append(attrs, slog.Any("receipt", *r.Receipt))
	}
	return attrs
}
