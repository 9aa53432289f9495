// Package server is the daemon: it opens what lies below it, routes HTTP requests to
// it, and takes it down again. It knows no cgroup and no process. One request:
//
//	web.Front ── routes.go ──┬ ask.go, surface.go ──> jobs.go: one job for each run id
//	 (id, origin, token, log)│   │           └ launch.go: queue, slot, run, its end
//	                         │   └ prepare.go: the request, as its backend can have it
//	                         │  respond.go ──> answer.Stream, answer.Whole
//	                         │    (a reader that leaves: is its run cancelled?)
//	                         ├ stored.go: responses that are kept; conversation.Store
//	                         ├ runs.go, runview.go, models.go
//	                         └ health.go: health.Facts; monitor, once a second
//
// One daemon (daemon.go): Run (run.go) ─ open.go ─ ... ─ drain.go: to its end, or to a successor. options.go is
// what an embedding program says; check.go what Run would refuse, asked beforehand.
// images.go has the root file systems that runs may have, inimage.go what a backend's have in one. backends.go, limits.go and cwd.go apply the configuration to a request, failures.go
// has what a client is told where nothing was started.
//
// Below it: web (HTTP), dialect and openai (what clients say and are told), answer (events to an answer), listener
// (sockets), health (how the daemon is), translate. Neither knows this package.
package server
