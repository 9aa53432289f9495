package main

import (
	"errors"
	"log/slog"
	"slices"

	"penstock/config"
)

// reloader reads the configuration again, for SIGHUP. A bad one changes
// nothing. Not safe for concurrent use.
type reloader struct {
	settings *settings
	running  config.Config // what is in force
	log      *slog.Logger
	level    *slog.LevelVar
	tokens   chan []config.Token // of one place: the server takes the latest
}

func (r *reloader) reload() {
	c, err := r.settings.load()
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			r.log.Error("configuration not taken", "problem", p.String())
		}
		return
	}
	var keys []string
	if err == nil {
		keys, err = config.Changed(r.running, c)
	}
	if err != nil {
		r.log.Error("configuration not taken", "error", err)
		return
	}
	var taken, restart []string
	for _, key := range keys {
		if r.take(key, c) {
			taken = append(taken, key)
		} else {
			restart = append(restart, key)
		}
	}
	if len(keys) == 0 {
		r.log.Info("configuration read again: nothing changed")
	}
	if len(taken) > 0 {
		r.log.Info("configuration read again", "taken", taken)
	}
	if len(restart) > 0 {
		r.log.Warn("configuration is valid and needs a restart to take effect", "changed", restart)
	}
}

// take puts one changed key into force, if that can be done without a restart.
func (r *reloader) take(key string, c config.Config) bool {
	switch key {
	case "log.level":
		setLevel(r.level, c.Log.Level)
		r.running.Log.Level = c.Log.Level
		return true
	case "tokens", "tokens_file":
		// Who may come in without a token is decided at the start.
		if len(c.Tokens) == 0 || len(r.running.Tokens) == 0 {
			return false
		}
		select {
		case <-r.tokens: // not yet taken, and stale now
		default:
		}
		r.tokens <- slices.Clone(c.Tokens)
		r.running.Tokens, r.running.TokensFile = c.Tokens, c.TokensFile
		return true
	}
	return false
}
