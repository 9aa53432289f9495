// Package sessions is what the daemon knows of conversations: their names, the CLI's own
// ids of them, and which run may have the next turn. It starts nothing.
//
//	Registry ── a file each in the store, all of them in memory   registry.go
//	 ├─ Begin, Put: a turn, before it is started; what its CLI says
//	 ├─ Forget, Sweep: with the session's own directories
//	 └─ SetChain, ByChain: a session is found by what was said    chain.go
//	     └─ seen: all chains that there have ever been, on 512 KiB  seen.go
//	Locks ───── one run of a session at a time                    locks.go
//
// A turn makes its session's chain none before its CLI is started, and gives it one when
// the turn is whole: a daemon that dies at any moment leaves no chain that the CLI's session
// has gone beyond.
package sessions
