package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"strconv"
	"sync"
	"syscall"
	"time"

	"penstock/backend"
	"penstock/config"
	"penstock/spawn"
)

// versionPatience is how long all CLIs together have to tell their versions.
const versionPatience = 15 * time.Second

// checkVersions adds to the findings of backends what their CLIs say they are. A
// version that is older than what is known to work is worth a note.
func checkVersions(ctx context.Context, findings []finding, backends map[string]config.Backend) {
	ctx, cancel := context.WithTimeout(ctx, versionPatience)
	defer cancel()
	var asked sync.WaitGroup
	for i := range findings {
		f := &findings[i]
		b, ok := backends[f.Name]
		if f.Area != "backend" || !ok || !f.OK || backend.Oldest(b.Kind) == "" {
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

func (f *finding) version(ctx context.Context, b config.Backend) {
	printed, err := askVersion(ctx, b)
	version, oldest := backend.VersionLine(printed), backend.Oldest(b.Kind)
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
