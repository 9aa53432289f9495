// Package scope asks a service manager over D-Bus: for a transient scope that is
// delegated to us (systemd.scope(5)), and about the unit that this process is in.
// It knows no runs.
//
//	Connect ─ the user's manager, or root's      manager.go
//	   │  its own socket first, then a bus; it has to manage our own tree
//	   ▼
//	Manager ── Enter: StartTransientUnit, or     enter.go
//	   │        AttachProcessesToUnit where a daemon died and left its runs
//	   ├────── CheckFree: does another daemon live in the scope
//	   ├────── IsStopping: is the unit being stopped with all runs in it   query.go
//	   └────── DelegatedUnit: is the group of ours delegated
package scope
