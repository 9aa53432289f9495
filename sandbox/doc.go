// Package sandbox starts a child so that it can't leave its group, reach the
// daemon or use the host's services to get out, at no cost per start.
//
//	once, on the launcher thread (launcher.go, prepare.go)      children inherit it
//	  own mount namespace, cgroup mounts read-only              prepare.go
//	  masked and read-only paths, looked for again and again    mask.go maskscan.go maskfind.go maskmount.go
//	  the daemon's records covered                              protect.go
//	  no_new_privs, fewer capabilities, its oom_score_adj       capabilities.go oomscore.go
//	each child, between clone3 and execve (forkexec.go, fork.go, vfork_asm.go, vfork_other.go)
//	  session, group, user without privileged groups, directory, files   identity.go
//	  Landlock domain                                           landlock.go
//	  seccomp filter                                            seccomp.go
//	the same for a run in an image: its own process 1 is in other namespaces (inner.go)
//
// Launcher.Do takes a job to the thread, Launcher.ForkExec starts a child there,
// Launcher.State tells what holds. No package but spawn uses a Launcher.
//
// A second Launcher, whose children may mount, starts bubblewrap for runs in an image. Its
// packages: bundle lays out what such a run sees, bubblewrap has the arguments, and pid1 is
// the first process inside, which puts this package's sandbox on the CLI.
package sandbox
