// Package sessions is what the daemon knows of conversations: their names, the CLI's own
// ids of them, and which run may have the next turn. It starts nothing.
//
//	Registry ── a file each in the store, all of them in memory  registry.go
//	 └─ Forget, Sweep: with the session's own directories
//	Locks ───── one run of a session at a time                    locks.go
package sessions
