package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"penstock/cmd/penstock/terminal"
	"penstock/config"
	"penstock/internal/atomicfile"
	"penstock/run/store"
)

// handoverLook is how often the note and the daemon are looked at.
const handoverLook = 50 * time.Millisecond

func (a *app) handoverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "handover",
		Short: "Have the daemon replaced by the program installed now, without ending durable runs",
		Long: "Asks the daemon of this state directory to execute the program that is installed now where it was\n" +
			"started from, and waits until that serves, or says why it does not. Process id and sockets stay,\n" +
			"durable runs go on; other runs may finish within drain_timeout and are ended then. A program that\n" +
			"can't be run, or that does not take the configuration, changes nothing.",
		Args: cobra.NoArgs,
	}
	s := addFewSettings(cmd, "state_dir")
	wait := cmd.Flags().Duration("wait", 2*time.Minute, "give up waiting after this long")
	cmd.RunE = a.work(func(ctx context.Context) error {
		c, err := s.load()
		if err != nil {
			return a.explain(err)
		}
		ctx, cancel := context.WithTimeout(ctx, *wait)
		defer cancel()
		return a.handover(ctx, c)
	})
	return cmd
}

func (a *app) handover(ctx context.Context, c config.Config) error {
	pid, err := lockHolder(filepath.Join(c.StateDir, "lock"))
	if err != nil {
		return fmt.Errorf("handover: %w", err)
	}
	paths := notePaths(c.StateDir)
	before := make([]os.FileInfo, len(paths))
	for i, path := range paths {
		if before[i], _, err = readNote(path); err != nil {
			return fmt.Errorf("handover: %w", err)
		}
	}
	daemon, err := os.FindProcess(pid)
	if err == nil {
		err = daemon.Signal(unix.SIGUSR2)
	}
	if err != nil {
		return fmt.Errorf("handover: daemon %d: %w", pid, err)
	}
	note, err := awaitNote(ctx, paths, before, daemon)
	if err != nil {
		return fmt.Errorf("handover: daemon %d: %w", pid, err)
	}
	if note.Outcome != handoverDone {
		return fmt.Errorf("handover: %s: %s", note.Outcome, note.Message)
	}
	fmt.Fprintf(a.stdout, "penstock %s serves, as process %d\n", terminal.OneLine(note.Version), pid)
	return nil
}

// awaitNote waits until another note lies at one of the paths.
func awaitNote(ctx context.Context, paths []string, before []os.FileInfo, daemon *os.Process) (handoverNote, error) {
	tick := time.NewTicker(handoverLook)
	defer tick.Stop()
	for {
		for i, path := range paths {
			info, note, err := readNote(path)
			if err != nil || info != nil && (before[i] == nil || !os.SameFile(before[i], info) || !before[i].ModTime().Equal(info.ModTime())) {
				return note, err
			}
		}
		if err := daemon.Signal(unix.Signal(0)); err != nil {
			return handoverNote{}, fmt.Errorf("it is gone: see its log: %w", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return handoverNote{}, fmt.Errorf("not done yet, see its log: %w", ctx.Err())
		}
	}
}

// noteMax is what a note may have, in bytes.
const noteMax = 64 << 10

func readNote(path string) (os.FileInfo, handoverNote, error) {
	var n handoverNote
	f, err := openPlain(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, n, nil
	}
	if err != nil {
		return nil, n, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, n, err
	}
	text, err := io.ReadAll(io.LimitReader(f, noteMax))
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	if err != nil {
		return nil, n, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return info, n, nil
}

// openPlain takes no link, and nothing that lets a reader wait: runs may be able to
// write in the state directory.
func openPlain(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s: not a regular file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Outcomes of a handover.
const (
	handoverDone    = "done"
	handoverRefused = "refused" // nothing has changed
	handoverFailed  = "failed"  // what didn't finish was ended; the daemon has begun anew by itself, or has ended
)

// handoverNote is how the last handover went, as handover.json in the store of the
// state directory.
type handoverNote struct {
	Outcome string    `json:"outcome"`
	Version string    `json:"version"` // of the program that writes it
	Message string    `json:"message,omitempty"`
	At      time.Time `json:"at"`
}

const handoverFile = "handover.json"

// notePaths are where a note may appear. A daemon of the version before has no
// store, and writes a refusal where its runs may write, too.
func notePaths(stateDir string) []string {
	paths := []string{filepath.Join(store.Places(stateDir)[0], handoverFile)}
	if !store.Exists(stateDir) {
		paths = append(paths, filepath.Join(stateDir, handoverFile))
	}
	return paths
}

// write replaces the note whole.
func (n handoverNote) write(stateDir string) error {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("note of the handover: %w", err)
	}
	for _, place := range store.Places(stateDir) {
		if err := atomicfile.Replace(filepath.Join(place, handoverFile), append(text, '\n'), nil); err != nil {
			return fmt.Errorf("note of the handover: %w", err)
		}
	}
	return nil
}
