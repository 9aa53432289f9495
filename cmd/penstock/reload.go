package main

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"penstock/config"
	"penstock/image"
	"penstock/internal/hint"
	"penstock/server"
)

// reloadMax is how long a reload waits for its files; see reloader.
const reloadMax = 5 * time.Second

// reloader reads the configuration again, for SIGHUP. A bad one changes
// nothing. Files that don't come, from a FIFO or a file server that hangs, are
// given up after reloadMax, though not closed: they are taken if they come
// after all, and until then nothing else is read. Safe for concurrent use.
type reloader struct {
	settings *settings
	log      *slog.Logger
	level    *slog.LevelVar
	tokens   chan []config.Token // of one place: the server takes the latest
	images   chan []image.Source // likewise

	mu      sync.Mutex
	running config.Config // what is in force
	reading bool
	again   bool // asked for while reading
}

func (r *reloader) reload() {
	r.mu.Lock()
	if r.reading {
		r.again = true
		r.mu.Unlock()
		r.log.Warn("configuration is still being read since the last SIGHUP")
		return
	}
	r.reading = true
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.read()
	}()
	timer := time.NewTimer(reloadMax)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		r.log.Error(hint.Text("configuration not read yet: it is taken if it comes after all", "is one of its files a pipe, or on a file server that hangs?"), "after", reloadMax.String())
	}
}

func (r *reloader) read() {
	for {
		c, err := r.settings.load()
		var unfit error
		if err == nil {
			unfit = r.checkImages(c)
		}
		if r.finish(c, err, unfit) {
			return
		}
	}
}

// finish is false where what was read is old by now.
func (r *reloader) finish(c config.Config, err, unfit error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.again {
		r.again = false
		return false
	}
	r.reading = false
	r.apply(c, err, unfit)
	return true
}

// takeInForce puts the part that reloads change into a configuration.
func (r *reloader) takeInForce(c *config.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Tokens, c.Log, c.Images = r.running.Tokens, r.running.Log, r.running.Images
}

func (r *reloader) apply(c config.Config, err, unfit error) {
	var problems config.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			r.log.Error("configuration not taken", "problem", p.String())
		}
		return
	}
	if err != nil {
		r.log.Error("configuration not taken", "error", err)
		return
	}
	keys := config.Changed(r.running, c)
	images := r.applyImages(c, unfit)
	var taken, restart []string
	for _, key := range keys {
		if strings.HasPrefix(key, "images.") && !images {
			continue
		}
		if r.applyKey(key, c) {
			taken = append(taken, key)
		} else {
			restart = append(restart, key)
		}
	}
	switch {
	case len(keys) > 0:
	case images && slices.ContainsFunc(c.ImageSources(), func(s image.Source) bool { return s.Layout != "" }):
		r.log.Info("configuration read again: no key changed; what the tags of images mean is looked up")
	default:
		r.log.Info("configuration read again: nothing changed")
	}
	if len(taken) > 0 {
		r.log.Info("configuration read again", "taken", taken)
	}
	if len(restart) > 0 {
		r.log.Warn("configuration is valid and needs a restart to take effect", "changed", restart)
	}
}

// checkImages says why the backends in force can't have the images of a configuration. It may
// wait for the file system that these lie on.
func (r *reloader) checkImages(c config.Config) error {
	r.mu.Lock()
	next := r.running
	r.mu.Unlock()
	next.Images = c.Images
	return (server.DryRun{Config: next}).Images()
}

// applyImages hands images on, also where they have not changed: what their tags mean is asked
// anew. False is that they can't be had.
func (r *reloader) applyImages(c config.Config, unfit error) bool {
	if unfit != nil {
		r.log.Error("images not taken: those before stay", "error", unfit)
		return false
	}
	select {
	case <-r.images: // not yet taken, and stale now
	default:
	}
	r.images <- c.ImageSources()
	return true
}

// applyKey puts one changed key into force, if that can be done without a restart.
func (r *reloader) applyKey(key string, c config.Config) bool {
	if strings.HasPrefix(key, "images.") {
		r.running.Images = c.Images
		return true
	}
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
