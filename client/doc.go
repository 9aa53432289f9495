// Package client speaks to a penstock daemon over its HTTP API, for other Go
// programs and for the subcommands of penstock that ask a daemon.
//
//	New(address, token) -> Client            client.go   http://HOST:PORT or unix:/PATH
//	    Health, Models                       daemon.go
//	    Runs, Run, Find, Cancel, Wait        runs.go     records; Find takes part of an id
//	    Chat, Events -> Stream               chat.go
//	                     |
//	                     v  Next
//	    Stream: attach, read, attach again   stream.go   after a cut, from the last event
//	       frames of server-sent events      sse.go
//	    Error, Unreachable, Cut, Ambiguous   errors.go
package client
