// Package root finds where groups may be made, and prepares a root there:
// <root>/daemon holds the daemon itself, <root>/runs all runs. It knows no single run.
//
//	Open (open.go)
//	  │ each source is probed for a candidate, in this order       source.go
//	  │   unit     systemd or an engine gave us our group           unit.go
//	  │   scope    a service manager gives us one, over D-Bus       scope.go
//	  │   subtree  below our own group, or the container's root     subtree.go
//	  │ what the kernel can't enforce comes last, or not at all (Mode)
//	  ▼
//	initRoot: make it, move into the leaf, controllers, runs        init.go
//	  ▼
//	Root (root.go) ── Rollback: all of it back, last first          rollback.go
//	               ── Detach: an Origin for the next daemon         origin.go
//	               ── MemoryAbove, TasksAbove: limits over it       above.go
//	               ── Stopping: is the manager ending our unit      scope.go
//	Inspect: what `penstock check` says of this host                report.go
package root
