package check

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os/user"
	"strconv"

	"penstock/cmd/penstock/process1"
	"penstock/config"
	"penstock/image"
	"penstock/internal/hint"
	"penstock/sandbox/bundle"
	"penstock/server"
	"penstock/spawn"
)

// imageFindings tells of the configuration's images: what a start would refuse, and what
// it would have to unpack.
func imageFindings(c config.Config) []Finding {
	var all []Finding
	if err := (server.DryRun{Config: c}).Images(); err != nil {
		f := Finding{Area: "image", Name: "images"}
		f.refuse(err, "mend images.*")
		return append(all, f)
	}
	s, noStore := image.OpenExisting(image.Dir(c.StateDir))
	for _, source := range c.ImageSources() {
		f := Finding{Area: "image", Name: source.Name, OK: true, Detail: source.Rootfs}
		if source.Layout != "" {
			f.Detail = source.Layout + ": "
			found, err := source.Resolve()
			if err != nil {
				f.refuse(err, "mend images."+source.Name+".oci")
			} else if f.Detail += image.Short(found.Digest); noStore != nil || !s.Has(found.Digest) {
				f.Detail += ", unpacked at the start"
			}
		}
		all = append(all, f)
	}
	return all
}

// runtimeFindings tells whether runs can be in images here, where backends have one.
func runtimeFindings(ctx context.Context, c config.Config) []Finding {
	wanted, isolated := false, false
	for _, b := range c.Backends {
		wanted, isolated = wanted || b.Image != "", isolated || b.Image != "" && b.NoNetwork()
	}
	if !wanted {
		return nil
	}
	f := Finding{Area: "image", Name: "bubblewrap", OK: true}
	var err error
	if f.Detail, err = findRuntime(ctx, isolated); err != nil {
		f.refuse(err, "")
	}
	return []Finding{f}
}

// findRuntime tells where bubblewrap is, which can do all that runs need of it: isolated ones
// a network of their own.
func findRuntime(ctx context.Context, isolated bool) (string, error) {
	program, args, err := process1.Open(slog.New(slog.DiscardHandler))
	if err != nil {
		return "", err
	}
	defer program.Close()
	r, err := spawn.OpenRuntime(ctx, "", program, args...)
	if err != nil {
		return "", err
	}
	if err := r.Probe(ctx, false); err != nil {
		return "", err
	}
	if isolated {
		err = r.Probe(ctx, true)
	}
	return r.Bubblewrap, err
}

// note is of what serve starts with all the same.
func (f *Finding) note(what string, err error) {
	message, remedy := hint.Split(err.Error())
	f.OK, f.Advice, f.Detail, f.Remedy = false, true, what+": "+message, remedy
}

// idsOf are a user's numbers.
func idsOf(name string) (uid uint32, gids []uint32, ok bool) {
	u, err := user.Lookup(name)
	if name == "" || err != nil {
		return 0, nil, false // the configuration's own findings tell of a user that isn't there
	}
	groups, err := u.GroupIds()
	if err != nil {
		groups = []string{u.Gid}
	}
	for _, text := range groups {
		if gid, err := strconv.ParseUint(text, 10, 32); err == nil {
			gids = append(gids, uint32(gid))
		}
	}
	n, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(n), gids, err == nil
}

// inImage looks for a backend's program where its runs would.
func (f *Finding) inImage(ctx context.Context, c config.Config, b config.Backend) {
	f.Detail += " in image " + b.Image
	s, err := image.OpenExisting(image.Dir(c.StateDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.note("not looked at", err)
		return
	}
	found, err := image.Find(ctx, s, c.ImageSources(), b.Image)
	if err != nil {
		f.note(f.Detail, err)
		return
	}
	defer found.Close()
	env := found.Env
	if path, ok := b.SetEnv["PATH"]; ok {
		env = append([]string{"PATH=" + path}, env...)
	}
	if err := bundle.Check(found.Rootfs, b.Image, found.Home); err != nil {
		f.note(f.Detail, err)
		return
	}
	root := image.At(found.Rootfs)
	if uid, gids, ok := idsOf(b.User); ok {
		root = root.As(uid, gids)
	}
	for _, one := range root.Check(env, found.Home, b.Command[:1]) {
		if one.Err != nil && one.Name == b.Command[0] && !b.MayMount(one.Name, image.PathOf(env)) {
			f.note(f.Detail, one.Err)
		}
	}
}
