// Package server is the HTTP surface: routes, OpenAI shapes, server-sent
// events, authentication, health. It knows no cgroup and no process.
package server

// The contract of this package:
//
//	func Run(ctx context.Context, c config.Config, o Options) error
//
// Run serves until ctx ends, then drains for c.DrainTimeout, ends every run and
// returns nil; Options carries Logger, Version, Force (a context whose end cuts
// the drain short), Ready func(addrs []net.Addr) and Listeners (from systemd).
