package server

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"penstock/config"
	"penstock/image"
	"penstock/internal/hint"
	"penstock/run/inimage"
	"penstock/sandbox/bundle"
	"penstock/server/web"
	"penstock/spawn"
)

// setImages says what the runs of each backend have in its image.
func (a backends) setImages(c config.Config) {
	for _, one := range a {
		if one.config.Image != "" {
			one.image = innerOf(one.config, c)
		}
	}
}

func innerOf(b config.Backend, c config.Config) *inimage.Image {
	i := &inimage.Image{
		Name: b.Image, NoNetwork: b.NoNetwork(), InRoots: func(path string) bool { return inside(path, c.WorkspaceRoots) },
		ReadonlyPaths: inProc(c.Isolation.ReadOnly), MaskedPaths: inProc(c.Isolation.Hide), Login: os.Getenv("USER"),
		Certificates: inimage.Certificates(),
	}
	if u, err := user.Current(); err == nil {
		i.Login = u.Username
	}
	for _, m := range b.Mounts {
		i.Mounts = append(i.Mounts, inimage.Mount{From: m.From, To: m.To, ReadOnly: m.ReadOnly()})
	}
	return i
}

// inProc are the paths below /proc, which is the only file system of the kernel's that a run
// in an image has with the host's settings in it.
func inProc(patterns []string) []string {
	var all []string
	for _, pattern := range patterns {
		if !strings.HasPrefix(pattern, "/proc/") {
			continue
		}
		if found, err := filepath.Glob(pattern); err == nil && len(found) > 0 {
			all = append(all, found...)
		}
	}
	return all
}

// openRuntime looks whether runs can be started in images here, where a backend's are to be. A
// host that can't do it refuses such runs; a program that can't, the start.
func (d *daemon) openRuntime(ctx context.Context, o Options) (*spawn.Runtime, error) {
	wanted, isolated := imagesWanted(d.config)
	if len(wanted) == 0 {
		return nil, nil
	}
	if o.Process1 == nil {
		return nil, hint.Errorf("server.Options.Process1", "backends.%s.image: this program has no process 1 for runs in images", wanted[0])
	}
	var args []string
	var err error
	if d.process1, args, err = o.Process1(); err != nil {
		return nil, err
	}
	var runtime *spawn.Runtime
	runtime, d.noImages, d.noLoopback = probeRuntime(ctx, d.process1, args, isolated)
	for _, why := range []error{d.noImages, d.noLoopback} {
		if why != nil {
			o.Logger.Error("runs in images are refused", "backends", wanted, "error", why)
		}
	}
	for _, name := range wanted {
		b := d.backends[name]
		if err := d.checkImage(ctx, b.config.Image); err != nil {
			o.Logger.Error("runs in this image are refused", "backend", name, "error", err)
		}
		if known, err := d.images.Known(b.config.Image); err == nil && b.checkSession("?", known) != nil {
			o.Logger.Warn("no sessions in an image where the home isn't kept (hint: home = \"private\" or a directory, or mount what its CLI keeps)", "backend", name, "image", known.Name)
		}
	}
	return runtime, nil
}

// checkImage says why no run could have an image that is in the store.
func (d *daemon) checkImage(ctx context.Context, name string) error {
	held, err := d.images.Use(ctx, name)
	if err != nil {
		return nil // its runs are told
	}
	return errors.Join(bundle.Check(held.Rootfs, name, held.Home), held.Close())
}

// imagesWanted are the backends whose runs are in images, sorted; isolated tells whether one of
// them has no network.
func imagesWanted(c config.Config) (names []string, isolated bool) {
	for _, name := range slices.Sorted(maps.Keys(c.Backends)) {
		if b := c.Backends[name]; b.Image != "" {
			names, isolated = append(names, name), isolated || b.NoNetwork()
		}
	}
	return names, isolated
}

// probeRuntime tells what a host can't do: all of it, or only a network of its own.
func probeRuntime(ctx context.Context, process1 *os.File, args []string, isolated bool) (r *spawn.Runtime, no, noLoopback error) {
	r, no = spawn.OpenRuntime(ctx, "", process1, args...)
	if no == nil {
		no = r.Probe(ctx, false)
	}
	if no != nil {
		return nil, no, nil
	}
	if isolated {
		noLoopback = r.Probe(ctx, true)
	}
	return r, nil, noLoopback
}

// imageOf says why a backend's runs can't be started in its image now, before anything is made
// for one; nothing is known of a backend without an image.
func (d *daemon) imageOf(b *configuredBackend) (image.Known, error) {
	if b.image == nil {
		return image.Known{}, nil
	}
	known, err := d.images.Known(b.image.Name)
	switch {
	case d.noImages != nil:
		err = d.noImages
	case b.image.NoNetwork && d.noLoopback != nil:
		err = d.noLoopback
	case err == nil && known.Err != nil:
		err = fmt.Errorf("image %s: %w", known.Name, known.Err)
	}
	if err != nil {
		return known, fmt.Errorf("backend %s: nothing was started: %w", b.config.Name, err)
	}
	return known, nil
}

// checkCwd refuses what a client can't have bound at the same path in an image.
func (a *configuredBackend) checkCwd(cwd string, known image.Known, stateDir string) error {
	if a.image == nil || cwd == "" {
		return nil
	}
	err := bundle.CheckTarget(cwd)
	switch {
	case err != nil:
	case cwd != known.Home && below(known.Home, cwd):
		err = fmt.Errorf("%s: it would cover the image's home %s", cwd, known.Home)
	case a.config.ProgramDir() != "" && below(a.config.ProgramDir(), cwd):
		err = fmt.Errorf("%s: it would cover the program's own directory", cwd)
	case below("/tmp", cwd), below("/var/tmp", cwd):
		err = fmt.Errorf("%s: it would cover the image's own", cwd)
	default:
		if real, linkErr := filepath.EvalSymlinks(stateDir); below(stateDir, cwd) || linkErr == nil && below(real, cwd) {
			err = fmt.Errorf("%s: what is the daemon's lies in it", cwd)
		}
	}
	if err == nil {
		return nil
	}
	return web.BadRequest("cwd", "cwd can't be in image %s: %s: name a directory below", known.Name, err)
}

// checkSession refuses a session that its CLI would never find again.
func (a *configuredBackend) checkSession(session string, known image.Known) error {
	if a.image == nil || session == "" || !a.backend.Features().Resume || a.config.KeepsSessions(known.Home) {
		return nil
	}
	return web.BadRequest("session_id", "backend %s has no sessions: in image %s its home isn't kept (hint for the operator: home = \"private\" or a directory, or mount what its CLI keeps)", a.config.Name, known.Name)
}
