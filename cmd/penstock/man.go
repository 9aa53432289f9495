package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

// manCommand writes the manual; what builds a package calls it.
func (a *app) manCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:    "man DIRECTORY",
		Hidden: true,
		Short:  "Write the pages of the manual, as man8 and man5 below a directory",
		Args:   cobra.ExactArgs(1),
	}
	cmd.RunE = func(_ *cobra.Command, args []string) error {
		return a.work(func(context.Context) error { return writeManual(a.root(), args[0]) })(cmd, nil)
	}
	return cmd
}

func writeManual(root *cobra.Command, dir string) error {
	date, err := manualDate()
	if err != nil {
		return fmt.Errorf("man: %w", err)
	}
	m := manual{root: root, date: date, source: "penstock " + readBuild().Version}
	for _, p := range m.pages() {
		path := filepath.Join(dir, "man"+p.section, p.name+"."+p.section)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("man: %w", err)
		}
		if err := os.WriteFile(path, []byte(p.text), 0o644); err != nil {
			return fmt.Errorf("man: %w", err)
		}
	}
	return nil
}

// manualDate is that of the source (reproducible-builds.org/specs/source-date-epoch), else none.
func manualDate() (string, error) {
	const variable = "SOURCE_DATE_EPOCH"
	epoch := os.Getenv(variable)
	if epoch == "" {
		return "", nil
	}
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%s: %q is no number of seconds", variable, epoch)
	}
	return time.Unix(seconds, 0).UTC().Format(time.DateOnly), nil
}
