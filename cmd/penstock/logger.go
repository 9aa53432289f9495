package main

import (
	"bytes"
	"io"
	"log/slog"

	"penstock/cmd/penstock/terminal"
	"penstock/config"
)

// newLogger writes text where a person reads and JSON where a machine does: into
// the sink, so that no line is ever waited for.
func newLogger(w io.Writer, c config.Log, level *slog.LevelVar) (*slog.Logger, *sink) {
	setLevel(level, c.Level)
	o := &slog.HandlerOptions{Level: level}
	handler := func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, o) }
	if c.Format == "text" || (c.Format == "auto" && terminal.Is(w)) {
		handler = func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, o) }
	}
	to := newSink(w, func(lines uint64) []byte {
		var line bytes.Buffer
		slog.New(handler(&line)).Warn("log lines dropped: what the log is written to did not take them", "lines", lines)
		return line.Bytes()
	})
	return slog.New(handler(to)), to
}

// setLevel takes a name that config has checked.
func setLevel(level *slog.LevelVar, name string) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err == nil {
		level.Set(l)
	}
}
