package run

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/backend"
	"penstock/cgroup"
	"penstock/image"
	"penstock/internal/atomicfile"
	"penstock/outcome"
	"penstock/run/inimage"
	"penstock/run/store"
	"penstock/spawn"
)

// Options open a Manager.
type Options struct {
	StateDir string      // runs/, sessions/, lock live below; created 0700
	Lock     *store.Lock // of StateDir, see store.LockDir; nil takes it in Open
	Spawner  *spawn.Spawner
	Logger   *slog.Logger
	Observer Observer // may be nil
	// Backends finds the backend of a durable run that an earlier daemon left;
	// nil knows none.
	Backends func(name string) (backend.Backend, bool)
	// Bounds are the widest figures that an earlier daemon's run of a backend may
	// have, also of one that isn't configured any more; nil bounds the longest line
	// to 16 MiB.
	Bounds func(backend, kind string) Bounds
	// NotDurable says why durable runs are refused; nil where they are not.
	NotDurable error
	// Renew gives what a backend's configuration has for a run of an earlier daemon
	// whose CLI is to be started anew: Argv, Env, User, Home, HomeSeed, Image and OpenCwd of
	// a Spec. nil starts none anew.
	Renew func(backend string) (Spec, bool)
	// Adopted hears of each run of an earlier daemon that still lives, before
	// Open returns; what it gives back is that run's OnGone, and may be called
	// before Open returns, too. May be nil.
	Adopted func(Record) (gone func(Record))
	// Images holds those that runs are in; nil has none.
	Images   *image.Manager
	Keep     time.Duration // how long a finished run's record and spool stay; 0 is one hour
	KeepRuns int           // and how many at most; 0 is 1000
	// KeepBytes is how much output of finished runs stays at most; 0 is 4 GiB.
	KeepBytes int64
	// MinFree is the low-water mark of the state directory's file system, in bytes,
	// at most a tenth of it: below, finished runs go before their time. 0 is none.
	MinFree int64
	roomAt  func(dir string, minFree int64) (Room, bool) // nil asks the file system
	// KeepSessions is how long a session stays that is not used; 0 is 30 days.
	KeepSessions time.Duration
	// Stop is done when this daemon has been asked to end; nil is never.
	Stop     context.Context
	stopping func() (bool, error) // nil is Spawner.Stopping
	// StallAfter is how long without output, CPU time and I/O makes a run
	// stalled in the Snapshot; 0 is 30 s.
	StallAfter time.Duration

	flush atomicfile.Flusher // of durable runs; nil is os.File.Sync
}

// Spec is one run to start.
type Spec struct {
	ID       string // checked by the caller; "" makes run_<ULID>
	Client   string
	Model    string // as the client wrote it
	Backend  backend.Backend
	Argv     []string        // resolved command: Argv[0] absolute; the backend's arguments are appended
	Env      []string        // complete base environment, see backend.Env
	User     *User           // nil is the daemon's own
	Request  backend.Request // Cwd, Tmp, Dir, Session, Root, Converse are filled here
	Cwd      string          // "" is a fresh directory of the session's or of the run's own
	Home     string          // "" leaves HOME as in Env; "private" is a fresh one per session
	HomeSeed string          // directory copied into a private HOME
	Image    *inimage.Image  // what it is to run in; nil is the host's file system
	Session  string          // the caller's name for the conversation; "" is none
	// SessionOfRun is that the Session goes when its last run isn't kept any more: one that is
	// made for this run, or was so for the one that it goes on from. Any other stays.
	SessionOfRun bool
	// Fresh is what to tell a CLI that does not know the session any more: all of the
	// conversation, with the attachments of its last turn. nil where that can't be told.
	Fresh       *PromptText
	SessionLock *SessionLock // of Session, see Manager.LockSession; nil makes Start wait for it
	// OpenCwd opens a directory that the client named or the session remembers,
	// or says why no run may work in it (any more). It is asked right before the
	// start, and the run starts in what it opened or not at all; a nil file is a
	// directory that may be what it will. When nil, any may.
	OpenCwd   func(cwd string) (*os.File, error)
	Limits    *specs.LinuxResources
	Deadline  time.Time // zero is none
	Grace     time.Duration
	Stall     time.Duration // no output, CPU and I/O for so long ends the run; 0 is never
	OutputMax int64         // bytes of stdout + stderr on disk
	LineMax   int64         // bytes of one line
	Metadata  json.RawMessage
	Received  *time.Time // when the request came; nil is not known
	// Durable makes the run outlive this daemon, and its output readable by the next.
	Durable bool
	// Fingerprint is kept with a durable run: what tells its request from others.
	Fingerprint []byte
	// Asked is what the client asked, opaque here, at most store.AskedMax bytes: it is kept as
	// long as the run's record, see Manager.Asked. Empty is nothing to keep.
	Asked []byte
	// Discard is that of the run, once it has ended, no more than the record is to stay. That
	// is done by DiscardOutput, and by the manager itself a minute after the end where
	// nothing has called that, also for a run that an earlier daemon has left.
	Discard bool
	// OnGone is called exactly once when the group is removed, or the start
	// failed and nothing is left of it: only then is the slot free.
	OnGone func()
}

// Observer hears of each step; metrics implements it. Calls are made from
// many goroutines and must not block.
type Observer interface {
	RunStarted(r Record, spawn time.Duration)
	FirstOutput(r Record, after time.Duration) // spawn to first event
	// RunFinished has a zero Outcome for a run that ended while no daemon watched.
	RunFinished(r Record, o outcome.Outcome)
}

// Snapshot is the manager's state from memory.
type Snapshot struct {
	Runs      []Live
	Processes int     // pids in all run groups, sampled
	Memory    *uint64 // bytes of all run groups; nil unknown
	// FilesInMemory is the part of Memory that is files in memory file systems,
	// also of finished runs, in bytes; nil unknown.
	FilesInMemory *uint64
	DyingGroups   *uint64 // removed ones that the kernel still keeps; nil unknown
	Stalled       int
	Heartbeat     time.Time // last time the dispatcher made progress
	Pressure      cgroup.TreeUsage
}

// Live is one live run in a Snapshot; nil is unknown.
type Live struct {
	ID, Backend, Client string
	Started             time.Time
	Sampled             time.Time // of the figures below; zero before the first look
	Stalled             bool
	Memory, Pids        *uint64
	CPUUsec, IOBytes    *uint64  // since the run's start
	CPUCores            *float64 // between the last two looks; 1 is one processor, busy
	// MemoryHighEvents and MemoryMaxEvents are since the run's start.
	MemoryHighEvents, MemoryMaxEvents *uint64
}

// Filter selects records.
type Filter struct {
	State      State // "" is any
	Unfinished bool  // waiting, running and ending ones only
	Client     string
	Limit      int
}

// What stays on disk of a run is package store's, and part of this one's surface.
type (
	Record     = store.Record
	State      = store.State
	User       = store.User
	Session    = store.Session
	Pending    = store.Pending
	Chain      = store.Chain
	PromptText = store.PromptText
	Bounds     = store.Bounds
)

const (
	Waiting  = store.Waiting
	Running  = store.Running
	Ending   = store.Ending
	Finished = store.Finished
)
