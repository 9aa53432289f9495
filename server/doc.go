// Package server is the HTTP surface: routes, OpenAI shapes, server-sent
// events, authentication, health. It knows no cgroup and no process.
//
// A request's way: wrap.go (id, log, metrics, recovery) -> guard.go (Host,
// Origin, Content-Type) -> auth.go (who asks) -> router.go -> a handler that
// returns an error -> errors.go (the one place that writes it). A chat request
// becomes a job (job.go), which waits for its slot and starts a run; stream.go
// and collect.go are two ways to read the same run.
package server
