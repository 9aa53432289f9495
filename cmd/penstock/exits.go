package main

import (
	"errors"

	"penstock/client"
)

// Further exit codes of the subcommands that speak to a daemon.
const (
	exitRefused     = 3   // nothing was started, and it can be tried again
	exitLimit       = 4   // a limit on memory, pids or output
	exitTime        = 5   // timeout, stalled
	exitCancelled   = 6   // by somebody else
	exitUnreachable = 7   // no daemon, or the connection was lost
	exitInterrupted = 130 // as a shell tells of SIGINT
)

// exitOf is the code for the end of a run; nil is its completion.
func exitOf(err error) int {
	var told *client.Error
	var cut *client.Cut
	var absent *client.Unreachable
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &cut), errors.As(err, &absent):
		return exitUnreachable
	case !errors.As(err, &told):
		return exitFailed
	}
	switch told.Code {
	case "memory_limit", "pids_limit", "output_limit":
		return exitLimit
	case "timeout", "stalled":
		return exitTime
	case "cancelled":
		return exitCancelled
	case "queue_full", "queue_timeout", "shutting_down", "start_failed", "cli_missing":
		return exitRefused
	}
	if told.Status >= 400 && told.Status < 500 && told.Type != "run_error" {
		return exitUsage // the request itself is wrong
	}
	return exitFailed
}
