// Package cgroupfs knows the files of cgroup v2 and nothing of runs: no other
// package opens one. Reference: Linux Documentation/admin-guide/cgroup-v2.rst.
//
//	/proc/self/mountinfo, cgroup    FindLocation, Locate     location.go
//	a group's directory             Dir, OpenDir, WithPerms  dir.go
//	  cgroup.procs, groups below    Procs, Children, walk    procs.go
//	  cgroup.events                 Populated, WaitEmpty     events.go
//	  cgroup.kill                   Kill, OpenKill           kill.go
//	  cgroup.controllers            Enable, Disable          controllers.go
//	  memory.max, pids.max, ...     Limit, Set (reads back)  limit.go
//	  *.stat, *.events, *.pressure  StatReader, Parse...     statreader.go, parse.go
//	  cpu.stat, by a kept descriptor  CPUTime                cputime.go
//	what programs of a run look for MemoryFile, MemoryLinks  location.go
//	rmdir, deepest first            RemoveTree               remove.go
//	the group the daemon lives in   MakeLeaf, MoveSelf       leaf.go
//	refusals with their remedies    Refusal                  errors.go
package cgroupfs
