// Package health is how the daemon is: what GET /health says, whether a new request
// would be taken, and what the service manager is told. All of it from memory:
// nothing here starts a process or waits while a request is answered.
//
//	run, admit, spawn ──> Facts ──┬─ Status, NotReady, Degraded   facts.go
//	in the background:      ^     ├─ Report: the body of /health  report.go
//	  probe.go: CLIs' ──────┤     ├─ Pressure, FilesLeft: for admission
//	            versions    │     └─ Heartbeat ──> Beat           heartbeat.go
//	  proc.go: /proc of the │           stuckSlots: stalled runs hold every slot
//	    daemon and host ────┘
package health
