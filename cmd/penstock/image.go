package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"penstock/backend/kinds"
	"penstock/cmd/penstock/check"
	"penstock/config"
	"penstock/image"
	"penstock/image/unpack"
	"penstock/internal/bytesize"
	"penstock/internal/hint"
	"penstock/sandbox/bundle"
)

// imageCall is one call of a subcommand of image.
type imageCall struct {
	*app
	config config.Config
	store  *image.Store
	at     string // where the store is, for people
	// refs are what the configuration names.
	refs image.Refs
}

func (a *app) imageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Store root file systems that runs may have in place of the host's",
		Long: "Stores root file systems that runs may have in place of the host's: each is unpacked once, by its digest, into\n" +
			"state_dir, and kept under a name. Nothing is pulled: skopeo copy and docker save bring images here. Root becomes\n" +
			"the owner of state_dir before anything is read: an image is the daemon's user's. [images.NAME] of the\n" +
			"configuration names others, which are listed, too.",
		Args: knownCommand,
		// Of image list --state-dir DIR it is the subcommand that is unknown.
		FParseErrWhitelist: cobra.FParseErrWhitelist{UnknownFlags: true},
		RunE: func(*cobra.Command, []string) error {
			return errors.New("a subcommand is missing: add, ls, rm or check")
		},
	}
	cmd.AddCommand(a.imageAddCommand(), a.imageListCommand(), a.imageRemoveCommand(), a.imageCheckCommand(), a.imageUnpackCommand())
	return cmd
}

// onImages wraps the own part of a subcommand. before is called ahead of what root gives up.
func (a *app) onImages(s *settings, before func(config.Config, []string) error, do func(context.Context, *imageCall, []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.begun = true
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		c, err := s.load()
		if err != nil {
			return a.explain(err)
		}
		call := &imageCall{app: a, config: c, at: image.Dir(c.StateDir), refs: image.RefsOf(c.ImageSources())}
		if before != nil {
			if err := before(c, args); err != nil {
				return fmt.Errorf("image %s: %w", cmd.Name(), err)
			}
		}
		if call.store, err = openImages(c.StateDir, before != nil); err == nil {
			err = do(ctx, call, args)
		}
		if err != nil && ctx.Err() != nil {
			err = errInterrupted
		}
		if err != nil && !errors.As(err, new(exitCode)) {
			return fmt.Errorf("image %s: %w", cmd.Name(), err)
		}
		return err
	}
}

// errInterrupted is told after a signal, in place of what that has cut short.
var errInterrupted = errors.New("interrupted")

func (a *app) imageAddCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "add NAME DIR|LAYOUT[:TAG]|ARCHIVE[:TAG]",
		SuggestFor: []string{"pull", "load", "import"},
		Short:      "Unpack an image into the store, and give it a name",
		Long: "Unpacks an image into the store, and gives it a name, in place of what had it. It comes from a root file system\n" +
			"(such as debootstrap's), from an OCI image layout (skopeo copy docker://... oci:DIR:TAG), or from an archive of\n" +
			"docker save. Where several are in it, :TAG says which. It is there whole or not at all, and the source is not\n" +
			"needed any more. Runs go on with what they have; what nothing refers to is removed.",
		Example: "penstock image add node22 /srv/images/node22:latest\ndocker save node:22 -o node22.tar && penstock image add node22 node22.tar",
		Args:    addedArgs,
	}
	s := addFewSettings(cmd, "state_dir")
	n := image.Name{}
	var writable, most string
	f := cmd.Flags()
	f.StringVar(&n.Home, "home", image.DefaultHome, "HOME inside, a `directory`")
	f.StringVar(&writable, "writable", "", "memory for what a run writes beside its directories, a `size` (default a quarter of its memory_max)")
	f.StringVar(&most, "max-size", bytesize.Format(unpack.DefaultMost), "a `size`: refuse what unpacks to more")
	var opened *unpack.Opened
	var limits unpack.Limits
	before := func(c config.Config, args []string) (err error) {
		n.Name = args[0]
		if _, configured := c.Images[n.Name]; configured {
			return hint.Errorf("take another name, or leave it out of the configuration", "%s: the configuration has images.%s, too", n.Name, n.Name)
		}
		if err := errors.Join(image.CheckName(n.Name), image.CheckHome(n.Home)); err != nil {
			return err
		}
		if n.Writable, err = sizeFlag("writable", writable); err != nil {
			return err
		}
		if limits.Most, err = sizeFlag("max-size", most); err != nil {
			return err
		}
		opened, err = unpack.Open(args[1])
		return err
	}
	cmd.RunE = a.onImages(s, before, func(ctx context.Context, call *imageCall, _ []string) error {
		// What an add that was killed has left takes the room that this one needs.
		if err := call.sweep(ctx, image.Refs{Unknown: true}); err != nil {
			return err
		}
		src, err := opened.Read()
		if err != nil {
			return err
		}
		n.Source = src.String()
		limits.Reserve = reserve(call.config, call.store.Path())
		r, err := unpack.Add(ctx, call.store, src, &n, limits)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s: %s, %s in %d files, in %s\n", n.Name, r.Digest, bytesize.Human(r.Size), r.Files, call.at)
		if len(r.Without) > 0 {
			fmt.Fprintf(a.stdout, "%s: without %s, which this process may not make and no run has a use for\n", n.Name, strings.Join(r.Without, ", "))
		}
		return call.sweep(ctx, call.refs)
	})
	return cmd
}

// addedArgs wants a name and what is to have it.
func addedArgs(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return cobra.ExactArgs(2)(cmd, args)
	}
	what, rest := "what is to be added", args[0]+" DIR|LAYOUT[:TAG]|ARCHIVE[:TAG]"
	if image.CheckName(args[0]) != nil {
		what, rest = "its name", "NAME "+args[0]
	}
	return hint.Errorf("penstock image add "+rest, "%s is missing", what)
}

// sizeFlag reads the value of an option; "" is 0.
func sizeFlag(name, value string) (int64, error) {
	if value == "" {
		return 0, nil
	}
	n, err := bytesize.Parse(value)
	switch {
	case strings.HasSuffix(value, "%"):
		err = hint.Errorf(`write "512MiB" or "2G"`, "%q: there is nothing here to be a part of", value)
	case err == nil && n <= 0:
		err = errors.New("must be more than 0")
	}
	if err != nil {
		return 0, fmt.Errorf("--%s: %w", name, err)
	}
	return n, nil
}

// reserve is the room that stays free, as for runs: keep.min_free, a tenth at most.
func reserve(c config.Config, dir string) int64 {
	var is unix.Statfs_t
	if unix.Statfs(dir, &is) != nil {
		return c.Keep.MinFree.Bytes
	}
	return min(c.Keep.MinFree.Bytes, int64(is.Blocks)*is.Bsize/10)
}

// sweep removes what was interrupted, and what nothing refers to any more where it is known
// what does, and tells of it.
func (c *imageCall) sweep(ctx context.Context, refs image.Refs) error {
	swept, err := c.store.Sweep(ctx, refs)
	for _, d := range swept.Digests {
		fmt.Fprintf(c.stdout, "removed %s: nothing refers to it\n", image.Short(d))
	}
	if swept.Interrupted > 0 {
		fmt.Fprintf(c.stdout, "removed what is left of %d interrupted\n", swept.Interrupted)
	}
	return err
}

func (a *app) imageRemoveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "rm NAME...",
		SuggestFor: []string{"rmi", "remove", "delete"},
		Short:      "Remove images from the store",
		Long: "Takes names out of the store, and with each its image where nothing else refers to that. It is refused while runs\n" +
			"use what would go, and where a backend of the configuration names it.",
		Args: cobra.MinimumNArgs(1),
	}
	s := addFewSettings(cmd, "state_dir")
	cmd.RunE = a.onImages(s, nil, func(ctx context.Context, call *imageCall, args []string) error {
		for _, name := range args {
			if err := call.checkUnnamed(name); err != nil {
				return err
			}
		}
		for _, name := range args {
			if call.store == nil {
				return fmt.Errorf("%s: %w", name, image.ErrUnknown)
			}
			digest, kept, err := call.store.Remove(ctx, name, call.refs)
			if _, configured := call.config.Images[name]; configured && errors.Is(err, image.ErrUnknown) {
				err = hint.Errorf("remove it there", "image %s is the configuration's", name)
			}
			if err != nil {
				return err
			}
			if kept == "" {
				fmt.Fprintf(a.stdout, "%s: removed, with %s\n", name, image.Short(digest))
			} else {
				fmt.Fprintf(a.stdout, "%s: removed; %s stays: %s\n", name, image.Short(digest), kept)
			}
		}
		if call.store == nil {
			return nil
		}
		return call.sweep(ctx, call.refs)
	})
	return cmd
}

// checkUnnamed refuses what backends of the configuration name in the store: their requests
// would be refused, and so would the daemon's next start.
func (c *imageCall) checkUnnamed(name string) error {
	if _, configured := c.config.Images[name]; configured || c.store == nil {
		return nil // they mean that one
	}
	if _, err := c.store.Name(name); errors.Is(err, image.ErrUnknown) {
		return nil
	}
	var keys []string
	for _, backend := range slices.Sorted(maps.Keys(c.config.Backends)) {
		if c.config.Backends[backend].Image == name {
			keys = append(keys, "backends."+backend+".image")
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return hint.Errorf("take that out of the configuration first; penstock image add "+name+" ... puts another image in its place", "%s: the configuration names it: %s", name, strings.Join(keys, ", "))
}

func (a *app) imageCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check NAME [PROGRAM]...",
		Short: "Look whether an image has what runs need",
		Long: "Looks for programs in an image as a run would: on its PATH, with what interprets them, their loader and their\n" +
			"libraries; and for a home. Without PROGRAM it looks for the CLIs that are known. A line is ok, note or FAIL, with\n" +
			"the remedy below it.",
		Args: cobra.MinimumNArgs(1),
	}
	s := addFewSettings(cmd, "state_dir")
	cmd.RunE = a.onImages(s, nil, func(ctx context.Context, call *imageCall, args []string) error {
		found, err := call.check(ctx, args[0], args[1:])
		if err == nil {
			err = check.PrintFindings(a.stdout, found)
		}
		if err == nil && slices.ContainsFunc(found, func(f check.Finding) bool { return !f.OK && !f.Advice }) {
			return exitCode(exitFailed)
		}
		return err
	})
	return cmd
}

// check looks into an image of the configuration or of the store.
func (c *imageCall) check(ctx context.Context, name string, programs []string) ([]check.Finding, error) {
	at, err := image.Find(ctx, c.store, c.config.ImageSources(), name)
	if err != nil {
		return nil, err
	}
	defer at.Close()
	root, path := image.At(at.Rootfs), image.PathOf(at.Env)
	if len(programs) == 0 {
		for _, kind := range kinds.All() {
			if _, err := root.LookPath(kind.Program, path); kind.Program != "" && (err == nil || !errors.Is(err, fs.ErrNotExist)) {
				programs = append(programs, kind.Program)
			}
		}
	}
	var found []check.Finding
	var mounted unix.Statfs_t
	if unix.Statfs(at.Rootfs, &mounted) == nil && mounted.Flags&unix.ST_NOEXEC != 0 {
		found = append(found, check.Finding{Area: "image", Name: name, Detail: "on a file system that is mounted noexec: nothing of it can be executed", Remedy: "have state_dir elsewhere, or remount it"})
	}
	if len(programs) == 0 {
		found = append(found, check.Finding{Area: "image", Name: name, Advice: true, Detail: "none of the CLIs that are known is on its PATH " + path, Remedy: "name the programs that its runs start"})
	}
	if err := bundle.Check(at.Rootfs, name, at.Home); err != nil {
		message, remedy := hint.Split(err.Error())
		found = append(found, check.Finding{Area: "image", Name: name, Detail: strings.TrimPrefix(message, "image "+name+": "), Remedy: remedy})
	}
	for _, f := range root.Check(at.Env, at.Home, programs) {
		one := check.Finding{Area: "image", Name: f.Name, OK: f.Err == nil, Detail: f.Detail}
		if f.Err != nil {
			one.Detail, one.Remedy = hint.Split(f.Err.Error())
		}
		found = append(found, one)
	}
	return found, nil
}

// imageUnpackCommand is what the daemon starts for an image of its configuration that the
// store lacks.
func (a *app) imageUnpackCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "unpack IMAGES LAYOUT DIGEST RESERVE", Hidden: true, Args: cobra.ExactArgs(4)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		a.begun = true
		ctx, stop := signal.NotifyContext(cmd.Context(), unix.SIGINT, unix.SIGTERM)
		defer stop()
		ctx = whileParent(ctx, os.Getppid)
		// Before any run, and long before the daemon, of which it has inherited the opposite.
		// Where that can't be said it unpacks all the same.
		_ = os.WriteFile("/proc/self/oom_score_adj", []byte("800"), 0)
		store, err := image.OpenExisting(args[0])
		if err != nil {
			return err
		}
		src, err := unpack.Digest(args[1], args[2])
		if err != nil {
			return err
		}
		keep, err := bytesize.Parse(args[3])
		if err != nil {
			return err
		}
		if _, err = unpack.Add(ctx, store, src, nil, unpack.Limits{Reserve: keep}); err != nil {
			// The daemon names the image, and takes little of what is said here.
			return errors.New(strings.TrimPrefix(err.Error(), "unpack "+src.String()+": "))
		}
		return nil
	}
	return cmd
}

// whileParent ends when the daemon does that has started this process: nobody waits then
// for what it unpacks. A signal for it (prctl(2), PR_SET_PDEATHSIG) comes when the daemon's
// thread ends, too.
func whileParent(ctx context.Context, parent func() int) context.Context {
	ctx, end := context.WithCancelCause(ctx)
	first := parent()
	go func() {
		for parent() == first {
			time.Sleep(100 * time.Millisecond)
		}
		end(errors.New("the daemon has gone"))
	}()
	return ctx
}

// unpackImage is the command for it.
func unpackImage() []string { return []string{"/proc/self/exe", "image", "unpack"} }

// openImages opens the store of a state directory, as the user whose that is. A store that
// isn't there is made where it is to be written to, else it is nil.
func openImages(stateDir string, make bool) (*image.Store, error) {
	info, err := os.Stat(stateDir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !make:
		return nil, nil
	case errors.Is(err, fs.ErrNotExist) && os.Geteuid() == 0 && filepath.Dir(stateDir) == "/var/lib":
		return nil, hint.Errorf("start the daemon once: it makes it, and its user is known then", "state directory: %s: %w", stateDir, fs.ErrNotExist)
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(stateDir, 0o700); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("state directory: %w", err)
	}
	dir := image.Dir(stateDir)
	if info != nil {
		if dir, err = becomeOwner(dir, info); err != nil {
			return nil, fmt.Errorf("state directory: %s: %w", stateDir, err)
		}
	}
	if make {
		return image.Open(dir)
	}
	s, err := image.OpenExisting(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return s, err
}
