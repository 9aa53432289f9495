// Package run is a run's life: its start, its supervision, its end, and the record
// that stays. A run is files: the CLI's stdout goes to a regular file which any
// number of readers follow through parsers of their own (package spool); what stays
// of it on disk is package store's.
//
//	Manager (manager.go, spec.go) holds every Run (run.go)
//	Manager.Start ─ one after the other:                                  start.go
//	    the session and its lock, the work directory    session.go, sessions, workdir.go
//	    the files: stdin with the prompt, the spool     files.go, store/stdio.go
//	    its image, held; what it sees in it             image.go, inimage
//	    a durable run's checkpoint and record, flushed: the next daemon's  store/checkpoint.go
//	    the process; a host that can't start it         hosterror.go
//	Manager.Refuse ─ the record of a run that was promised, and never started  conclude.go
//	Manager.Open ── what an earlier daemon left: recoverRun               recover.go
//	                 ├ lives: adopt                                       adopt.go
//	                 └ is over: into the index; one that is lost is made anew  rebuild.go
//	supervisor ──── one a run: parses, talks to the CLI, holds the caps   supervisor.go
//	                 ├ what a conversation writes to the CLI: stdinWriter   stdin.go
//	                 ├ the CLI has forgotten its session: restart         restart.go
//	                 ├ it was done and lives on: the answer is told       conclude.go
//	                 └ the end: conclude, the verdict and the record      conclude.go
//	dispatcher ──── once a second: usage, stalls; Snapshot                dispatcher.go, stall.go
//	ProbeVersion ── which version a CLI is, asked in a group of its own   probe.go
//	kept ────────── finished runs: entries of package history's index, and no objects  kept.go
//	pruneLoop, roomLoop: what is kept of finished runs, and how long      prune.go, room.go; at once: remove.go
//	Manager.Detach: durable runs live on for the next daemon              adopt.go
//
// A run's life is one machine (state.go). It is known from when it waits for its
// session: before, a request that is queued for a slot is the server's, and no run.
// In brackets, what the API shows.
//
//	waiting [waiting]
//	   │ it has its session            ╭──── the CLI has forgotten its session ◀─╮
//	   ▼                               ▼     (shown as running)                  │
//	starting [waiting] ─────────▶ a process ──▶ running [running] ───────────────┤
//	   │                                           │        │ End, or the CLI's  │
//	   │ it can't be started           Detach      │        ▼ last word          │
//	   │                           ╭───────────────┤     ending [ending] ────────╯
//	   ▼                           ▼               │        │
//	finished [finished] ◀──────────┼───────────────┴────────╯ the tree is gone
//	                           detached
//
// Its channels close in this order, each at most once:
//
//	stop       End was called, in any phase before finished
//	answered   the verdict is certain: at the CLI's last word, else with ended
//	detached   with the phase; ended stays open then
//	ended      announce: finished, the record on disk, the session free
//	done       letGo: the group removed and the slot given back, or detached and let go
package run
