package check

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/cgroup/root"
	"penstock/cmd/penstock/terminal"
	"penstock/config"
	"penstock/internal/bytesize"
	"penstock/run/store"
	"penstock/server"
	"penstock/systemd"
)

// addProblems tells what is wrong with a configuration; any other error is returned.
func (r *Report) addProblems(err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	for _, p := range problems {
		r.add(Finding{Area: "config", Name: "problem", Detail: p.String()})
	}
	return nil
}

// addConfig looks at what the configuration names.
func (r *Report) addConfig(c config.Config) {
	trial := server.DryRun{Config: c}
	r.add(Finding{Area: "config", Name: "file", OK: true, Detail: cmp.Or(c.File, "no file: built-in defaults")})
	if _, err := systemd.NewWatchdog(); err != nil {
		f := Finding{Area: "systemd", Name: "watchdog"}
		f.refuse(err, "take WATCHDOG_USEC and WATCHDOG_PID out of the environment")
		r.add(f)
	}
	r.add(listenFindings(trial)...)
	state, running := stateFinding(trial)
	r.Running = running
	r.add(state, tokensFinding(c))
}

// What is said of an address that is listened on: this daemon's unit, as
// likely as not. A port isn't asked: a call would start a unit that has a socket.
const (
	portTaken   = "another process has this port"
	socketTaken = "another process answers on this socket"
)

// listenFindings opens and closes the addresses, as serve would.
func listenFindings(t server.DryRun) []Finding {
	var all []Finding
	for i, err := range t.Listen() {
		f := Finding{Area: "listen", Name: t.Config.Listen[i], OK: true, Detail: "free"}
		if errors.Is(err, unix.EADDRINUSE) {
			f.OK, f.Detail, f.Remedy = false, portTaken,
				"stop it, or change listen; a daemon that is meant to be there answers for itself: penstock ps"
			if strings.HasPrefix(f.Name, "unix:") {
				f.Detail = socketTaken
			}
		} else if err != nil {
			f.refuse(err, "change listen")
		}
		all = append(all, f)
	}
	return all
}

// tokensFinding says which clients may come in; a file that can't be taken is a problem of
// the configuration.
func tokensFinding(c config.Config) Finding {
	f := Finding{Area: "tokens", Name: "tokens_file", OK: true, Detail: "none: every local user may come in"}
	if c.TokensFile != "" {
		f.Detail = fmt.Sprintf("%s: %s", c.TokensFile, terminal.Count(len(c.Tokens), "token", "tokens"))
	}
	if slices.ContainsFunc(c.Tokens, func(t config.Token) bool { return t.Plain }) {
		f.OK, f.Advice = false, true
		f.Detail += ", not all of them hashed: an agent that runs as the daemon's user can read the others"
		f.Remedy = "write name:sha256:<hex of the token's SHA-256>"
	}
	return f
}

// stateFinding says whether the state directory can be used, and whether a daemon
// does so. It leaves nothing there.
func stateFinding(t server.DryRun) (f Finding, running bool) {
	dir := t.Config.StateDir
	f = Finding{Area: "state", Name: "state_dir", OK: true, Detail: dir}
	there, err := t.State()
	if err != nil {
		f.refuse(err, "set state_dir to a directory of the daemon's own")
		return f, errors.Is(err, store.ErrInUse)
	}
	var fs unix.Statfs_t
	if unix.Statfs(there, &fs) == nil && fs.Flags&unix.ST_NOEXEC != 0 {
		f.OK, f.Advice = false, true
		f.Detail += ": mounted noexec: what agents build in their runs' own directories can't be executed"
		f.Remedy = "set state_dir to a file system without noexec, or give runs a cwd elsewhere"
	}
	if there != dir {
		f.Detail += " (will be made)"
	}
	return f, false
}

// storeFinding foretells whether durable runs can be had: what the daemon believes of
// them must be out of the reach of runs.
func storeFinding(dir string) Finding {
	f := Finding{Area: "isolation", Name: "records", OK: true}
	wall, err := store.Protection(dir)
	if err != nil {
		f.OK, f.Advice = false, true
		f.Detail = "durable runs (X-Run-Id) would be refused: runs could write to the daemon's records: " + err.Error()
		f.Remedy = "make a directory <state_dir>.store (mode 0700) below parents that this user can't write, set XDG_RUNTIME_DIR, or run as root"
		return f
	}
	f.Detail = "the daemon's records are " + wall
	return f
}

// aboveFindings tells what the limits above leave to all runs together: the budget of
// memory, and the tasks beside the daemon's own.
func aboveFindings(c config.Config, memory, tasks *root.Bound) []Finding {
	var all []Finding
	f := Finding{Area: "limits", Name: "budget.memory", OK: true, Detail: bytesize.Human(c.Budget.Memory.Bytes)}
	if memory != nil {
		f.Detail = fmt.Sprintf("%s, below the limit of %s in %s", bytesize.Human(c.Budget.Memory.Bytes), bytesize.Human(memory.N), memory.From)
		if now := c.Budget.Under(memory.N, 0); now < c.Budget.Memory.Bytes {
			f.OK, f.Advice = false, true
			f.Detail = fmt.Sprintf("%s: the limit of %s in %s leaves %s beside the daemon, and that is what runs get",
				bytesize.Human(c.Budget.Memory.Bytes), bytesize.Human(memory.N), memory.From, bytesize.Human(now))
			f.Remedy = "lower budget.memory, or raise that limit"
		}
	}
	all = append(all, f)
	if tasks == nil {
		return all
	}
	f = Finding{Area: "limits", Name: "tasks", OK: true, Detail: fmt.Sprintf("%d for all runs together: what %s leaves beside the daemon and others", tasks.N, tasks.From)}
	if most := c.Limits.PidsMax; tasks.N < most {
		f.OK, f.Advice = false, true
		f.Detail += fmt.Sprintf(", less than one run's pids_max of %d", most)
		f.Remedy = "raise that limit (TasksMax= of the unit, --pids-limit of the container, LimitNPROC=), or lower limits.pids_max"
	}
	return append(all, f)
}

// known is nil for a bound that there isn't.
func known(b root.Bound, ok bool) *root.Bound {
	if !ok {
		return nil
	}
	return &b
}
