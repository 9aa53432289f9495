package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/config"
	"penstock/server"
	"penstock/spawn"
)

// addBackends looks at each backend's program and user, and asks the CLIs that are
// known for their version.
func (r *Report) addBackends(ctx context.Context, c config.Config) {
	trial := server.DryRun{Config: c}
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		f := backendFinding(trial, c.Backends[name])
		if f.OK && c.Backends[name].Image != "" {
			f.inImage(ctx, c, c.Backends[name])
		}
		r.add(f)
		r.add(userFindings(c.Backends[name], c.StateDir)...)
	}
	addVersions(ctx, r.Findings, c.Backends)
}

// backendFinding fails on what would stop the daemon; a program that isn't
// there only leaves its backend out.
func backendFinding(t server.DryRun, b config.Backend) Finding {
	f := Finding{Area: "backend", Name: b.Name, OK: true, Detail: strings.Join(b.Command, " ")}
	if b.Missing != "" {
		f.OK, f.Advice, f.Detail = false, true, b.Missing
		if b.Configured {
			f.Remedy = "install it, or set backends." + b.Name + ".command"
		}
	}
	if err := t.Backend(b.Name); err != nil {
		f.Advice = false
		f.refuse(err, "mend backends."+b.Name)
	}
	return f
}

// userFindings tells of a backend's user that could not enter its runs' directories
// or start its program. It reads permission bits only: an access list may allow more.
func userFindings(b config.Backend, stateDir string) []Finding {
	u, err := user.Lookup(b.User)
	if b.User == "" || err != nil {
		return nil // the configuration's own findings tell of a user that isn't there
	}
	groups, err := u.GroupIds()
	if err != nil {
		groups = []string{u.Gid}
	}
	note := Finding{Area: "backend", Name: b.Name, Advice: true}
	var found []Finding
	if stopped, at := blockedAt(filepath.Dir(stateDir), u.Uid, groups); stopped {
		note.Detail = fmt.Sprintf("user %s can't pass through %s to state_dir: its runs won't start", b.User, at)
		note.Remedy = "set state_dir to a directory it can reach, such as /var/lib/penstock"
		found = append(found, note)
	}
	if b.Missing != "" || len(b.Command) == 0 || b.Image != "" {
		return found
	}
	program, err := filepath.EvalSymlinks(b.Command[0])
	if err != nil {
		return found
	}
	if stopped, at := blockedAt(program, u.Uid, groups); stopped {
		note.Detail = fmt.Sprintf("user %s may not execute %s: %s is closed to it", b.User, b.Command[0], at)
		note.Remedy = "install it where that user can reach it"
		found = append(found, note)
	}
	return found
}

// blockedAt finds the first part of a path whose execute bit is not a user's. What
// isn't there yet would be made for the daemon alone.
func blockedAt(path, uid string, groups []string) (stopped bool, at string) {
	if path != filepath.Dir(path) {
		if stopped, at = blockedAt(filepath.Dir(path), uid, groups); stopped {
			return stopped, at
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		return true, path
	}
	owner := info.Sys().(*syscall.Stat_t)
	need := os.FileMode(0o001)
	switch {
	case uid == "0":
		return false, ""
	case strconv.Itoa(int(owner.Uid)) == uid:
		need = 0o100
	case slices.Contains(groups, strconv.Itoa(int(owner.Gid))):
		need = 0o010
	}
	return info.Mode()&need == 0, path
}

// versionPatience is how long all CLIs together have to tell their versions.
const versionPatience = 15 * time.Second

// addVersions adds to the findings of backends what their CLIs say they are. A
// version that is older than what is known to work is worth a note.
func addVersions(ctx context.Context, findings []Finding, backends map[string]config.Backend) {
	ctx, cancel := context.WithTimeout(ctx, versionPatience)
	defer cancel()
	var asked sync.WaitGroup
	for i := range findings {
		f := &findings[i]
		b, ok := backends[f.Name]
		if f.Area != "backend" || !ok || !f.OK || kinds.Oldest(b.Kind) == "" || b.Image != "" {
			continue
		}
		asked.Go(func() { f.version(ctx, b) })
	}
	asked.Wait()
}

// askVersion starts the program as the user of its runs, which may have written it.
func askVersion(ctx context.Context, b config.Backend) (string, error) {
	set := maps.Clone(b.SetEnv)
	var as *syscall.Credential
	if b.User != "" && os.Geteuid() == 0 {
		u, err := user.Lookup(b.User)
		if err != nil {
			return "", err
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return "", err
		}
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if set == nil {
			set = map[string]string{}
		}
		set["HOME"], set["USER"], set["LOGNAME"] = u.HomeDir, u.Username, u.Username
	}
	env := backend.Env(os.LookupEnv, os.Environ(), append(backend.BasePass(), b.Env...), set)
	return spawn.Output(ctx, append(b.Command[:len(b.Command):len(b.Command)], "--version"), env, as)
}

func (f *Finding) version(ctx context.Context, b config.Backend) {
	printed, err := askVersion(ctx, b)
	version, oldest := backend.VersionLine(printed), kinds.Oldest(b.Kind)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", versionPatience)
	}
	switch {
	case err != nil:
		f.OK, f.Advice = false, true
		f.Detail += fmt.Sprintf(": its version is not known: %v", err)
		f.Remedy = "run it with --version by hand; " + oldest + " is the oldest that is known to work"
	case backend.Older(version, oldest):
		f.OK, f.Advice = false, true
		f.Detail += ": " + version
		f.Remedy = "update it: " + oldest + " is the oldest that is known to work"
	default:
		f.Detail += ": " + version
	}
}
