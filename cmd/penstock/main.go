// Command penstock puts coding-agent command lines behind one HTTP API, each
// run in a cgroup of its own.
//
//	main -> run -> one file for each subcommand            root.go: flags, exit codes
//	  the daemon:  serve.go   signals.go reload.go log.go banner.go
//	               handover.go -> reexec.go                the next program in its place
//	               reap.go    lock.go                      what a dead daemon left
//	               garbage.go                              how often garbage is collected
//	  its settings: settings.go -> config                  flags, completion; config.go shows them
//	  for people:  run.go runcall.go ps.go logs.go cancel.go
//	               connection.go -> client                 where the daemon is, with which token
//	  images:      image.go imagelist.go -> image, image/unpack     process1/: process 1 of runs in them
//	  check.go -> check/     hidden.go -> demo/, manual/   version.go; what they write: terminal/
package main

import (
	"context"
	"os"

	"penstock/cmd/penstock/process1"
	"penstock/sandbox/pid1"
)

func main() {
	if len(os.Args) == 2 && os.Args[1] == process1.Command { // with nothing of what follows
		os.Exit(pid1.Main())
	}
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
