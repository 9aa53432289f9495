package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"penstock/cmd/penstock/terminal"
	"penstock/image"
	"penstock/internal/bytesize"
)

// imageRow is a line of penstock image ls.
type imageRow struct {
	Name       string     `json:"name"`
	Digest     string     `json:"digest,omitempty"` // none of a directory
	Configured bool       `json:"configured"`       // rather than in the store
	Unpacked   bool       `json:"unpacked"`
	Before     string     `json:"before,omitempty"` // what its runs have until it is unpacked
	InUse      bool       `json:"in_use"`
	Size       int64      `json:"size,omitempty"`
	Files      int64      `json:"files,omitempty"`
	Home       string     `json:"home"`
	Source     string     `json:"source"`
	Added      *time.Time `json:"added,omitempty"`
	Without    []string   `json:"without,omitempty"`
	Error      string     `json:"error,omitempty"`
}

func (a *app) imageListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:        "ls",
		SuggestFor: []string{"list"},
		Short:      "List the images of the store and of the configuration",
		Args:       cobra.NoArgs,
	}
	s := addFewSettings(cmd, "state_dir")
	asJSON := cmd.Flags().Bool("json", false, "print them as JSON")
	cmd.RunE = a.onImages(s, nil, func(_ context.Context, call *imageCall, _ []string) error {
		rows, err := call.list()
		if err != nil {
			return err
		}
		if *asJSON {
			e := json.NewEncoder(a.stdout)
			e.SetIndent("", "  ")
			return e.Encode(rows)
		}
		return call.print(rows)
	})
	return cmd
}

func (c *imageCall) list() ([]imageRow, error) {
	rows := []imageRow{}
	var was map[string]string
	if c.store != nil {
		var err error
		if was, err = c.store.InForce(); err != nil {
			return nil, err
		}
	}
	for _, source := range c.config.ImageSources() {
		row := imageRow{Name: source.Name, Configured: true, Home: source.Home, Source: source.Rootfs, Unpacked: true}
		if source.Layout != "" {
			row.Source, row.Unpacked = source.Layout, false
			if source.Tag != "" {
				row.Source += ":" + source.Tag
			}
			found, err := source.Resolve()
			if err != nil {
				row.Error = err.Error()
			} else {
				c.tell(&row, found.Digest)
			}
			if before := was[source.Name]; before != row.Digest && !row.Unpacked {
				row.Before = before
			}
		}
		rows = append(rows, row)
	}
	if c.store == nil {
		return rows, nil
	}
	names, err := c.store.Names()
	for _, n := range names {
		row := imageRow{Name: n.Name, Home: n.Home, Source: n.Source, Added: &n.Added}
		c.tell(&row, n.Digest)
		rows = append(rows, row)
	}
	return rows, err
}

// tell adds what the store knows of a digest.
func (c *imageCall) tell(row *imageRow, digest string) {
	row.Digest = digest
	if c.store == nil {
		return
	}
	r, err := c.store.Get(digest)
	if err != nil {
		return
	}
	row.Unpacked, row.Size, row.Files, row.Without = true, r.Size, r.Files, r.Without
	if row.InUse, err = c.store.InUse(digest); err != nil {
		row.Error = err.Error()
	}
}

func (c *imageCall) print(rows []imageRow) error {
	t := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NAME\tDIGEST\tSIZE\tAGE\tUSED\tFROM")
	for _, r := range rows {
		digest, size, age, used := "-", "-", "-", "no"
		if r.Digest != "" {
			digest = image.Short(r.Digest)
		}
		if r.Size > 0 {
			size = bytesize.Short(float64(r.Size))
		}
		if r.Added != nil {
			age = terminal.Age(time.Since(*r.Added))
		}
		from := r.Source
		if r.Configured {
			from += " (configured)"
		}
		switch {
		case r.Error != "":
			from += ": " + r.Error
		case !r.Unpacked && r.Before != "":
			from += ": not unpacked yet, the daemon does that; until then runs have " + image.Short(r.Before)
		case !r.Unpacked:
			from += ": not unpacked yet, the daemon does that"
		case r.InUse:
			used = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, digest, size, age, used, terminal.OneLine(from))
	}
	return t.Flush()
}

// becomeOwner makes root the user of a state directory, for good: as root it would have to
// trust what that user's runs have put there, and its images would not be the daemon's. The
// path that it gives leads there without the directories above, which may be root's own:
// those of a dynamic user are.
func becomeOwner(dir string, stateDir fs.FileInfo) (string, error) {
	is, ok := stateDir.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || is.Uid == 0 {
		return dir, nil
	}
	// No os.File, which would be closed when nothing here knows it any more.
	parent, err := unix.Open(filepath.Dir(dir), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: filepath.Dir(dir), Err: err}
	}
	uid, gid := int(is.Uid), int(is.Gid)
	for _, give := range []func() error{
		func() error { return syscall.Setgroups(nil) },
		func() error { return syscall.Setresgid(gid, gid, gid) },
		func() error { return syscall.Setresuid(uid, uid, uid) },
	} {
		if err := give(); err != nil {
			return "", fmt.Errorf("become user %d: %w", uid, err)
		}
	}
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", parent), filepath.Base(dir)), nil
}
