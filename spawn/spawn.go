// Package spawn starts one command inside a fresh group and sees it to its end. No
// other package starts a process.
//
//	Open      root of groups, leftovers, launcher, self-test     spawner.go selftest.go adopt.go
//	Start     group -> limits -> fork in the sandbox -> CPU      start.go starterror.go
//	  in an image: bubblewrap, which starts our process 1      image.go imagegroup.go runtime.go
//	  Process   End, Finish, Kill, Detach; Usage                 process.go
//	    leader    the first process: a child, an orphan          leader.go exits.go imageleader.go
//	    end       grace -> kill -> empty -> receipt -> rmdir     supervise.go  -> outcome.Outcome
//	Adopt     what an earlier daemon has started                 adopt.go
//	Close, Detach, Abandon                                       close.go
//	Reexec    a new program in this process's place              reexec.go
//
// Beside them: orphans that have come to us are reaped (orphans.go), groups that
// can't be made are tried again (grouphealth.go), files that runs have left in
// memory are named (memfiles.go). What a child may do is sandbox's, what its end
// means is outcome's, every file of a group is cgroup's.
package spawn

import (
	"log/slog"
	"os"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"penstock/cgroup"
	"penstock/cgroup/root"
	"penstock/outcome"
	"penstock/sandbox"
)

// Options open a Spawner.
type Options struct {
	Cgroup   cgroup.Options
	SelfTest bool
	// SleepCommand is a program, with its arguments, that sleeps for the seconds given to it:
	// the self-test's. The host may have none; nil looks for sleep(1).
	SleepCommand []string
	// Keep are runs of an earlier daemon whose groups Open leaves alone, to be
	// claimed with Adopt; the others are ended.
	Keep []Leftover
	Mask sandbox.MaskPaths
	// ReapOrphans reaps every child of this process that is not a run's first
	// process, from EndUnclaimed on: for a program whose children are all started
	// here, as it would take the exit status of any other.
	ReapOrphans bool
	// ProtectPaths are files and directories, by absolute paths without links, that
	// no child may write to, or below, or put anything in place of: what the
	// daemon believes later. Isolation.Store tells what keeps children out.
	ProtectPaths []string
	// ImagePaths are those of ProtectPaths below which images lie.
	ImagePaths []string
	// Runtime starts commands in an Image; nil refuses them.
	Runtime *Runtime
	Logger  *slog.Logger
}

// Command is one process tree to be started.
type Command struct {
	ID   string   // run id; the group's name
	Argv []string // Argv[0] is an absolute path; in an Image it may be looked for on the PATH of Env
	Env  []string // complete: nothing of the daemon's own is added
	Dir  string
	// Held is the directory that Dir was when it was checked, open: the child
	// starts in that one or not at all, see sandbox.ErrMoved. nil takes what Dir is at
	// the start.
	Held   *os.File
	Stdin  *os.File // nil is /dev/null; the caller keeps and closes its files
	Stdout *os.File
	Stderr *os.File
	Limits *specs.LinuxResources
	Image  *Image              // nil is the host's file system
	User   *syscall.Credential // nil is the daemon's own
	// SoftEnd asks for SIGTERM to the leader and Grace before cgroup.kill
	// when the daemon ends the run; else the kill comes at once.
	SoftEnd bool
	Grace   time.Duration
	// BeforeRemove runs when the group is empty and its receipt read, before
	// rmdir: scratch and spool pages must be let go first (dying memcgs). Of the
	// outcome all is there but what the removal adds.
	BeforeRemove func(outcome.Outcome)
}

// Isolation is the state of the cage, for /health; a plain snapshot.
type Isolation struct {
	Mode     cgroup.Mode     `json:"mode"`
	Root     string          `json:"root"`
	Memory   cgroup.Enforcer `json:"memory"`
	Pids     cgroup.Enforcer `json:"pids"`
	Kill     cgroup.Enforcer `json:"kill"`
	CPU      cgroup.Enforcer `json:"cpu,omitempty"` // empty: cpu_max and cpu_weight can't be held
	SelfTest string          `json:"self_test"`     // "passed", "off", or "failed: ..."
	// Store is what keeps runs from writing to Options.ProtectPaths: "mount namespace",
	// "landlock", or "none", which StoreOpen explains.
	Store     string `json:"record_store"`
	StoreOpen error  `json:"-"`
	Escape    string `json:"escape_proofing"` // "mount namespace, landlock, seccomp", "landlock, seccomp", what is lacking in parentheses, "none: why"
	// Hidden are the paths that are hidden from children or read-only to them;
	// Reachable those that should be and are not. Both sorted, never nil.
	// /health tells no paths.
	Hidden    []string `json:"-"`
	Reachable []string `json:"-"`
	// Late are the patterns of isolation.hide that lead to a file system that doesn't
	// answer: what they name stays hidden as it was. TooMany counts the names that
	// fit and are not looked at.
	Late         []string `json:"-"`
	TooMany      int      `json:"-"`
	LeakedGroups int      `json:"leaked_groups"`
	// RemoveRetries counts rmdir calls that had to be repeated; for metrics.
	RemoveRetries uint64 `json:"-"`
}

// Names the packages above need without knowing cgroups.
type (
	Mode         = cgroup.Mode
	Limits       = cgroup.Limits
	GroupOptions = cgroup.Options
	Enforced     = cgroup.Enforced
	Origin       = root.Origin
	Above        = root.Above
	Bound        = root.Bound
)

// Resources is the OCI form of l, as carried in a Command.
func Resources(l Limits) *specs.LinuxResources { return cgroup.Resources(l) }
