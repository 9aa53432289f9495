// Package manual writes the pages of the manual: penstock(8) and one for each
// subcommand, from the tree of commands, and penstock.toml(5), from the keys of the
// configuration. Why not cobra/doc: docs/adr/0014.
//
//	Write -> overview, command    manual.go          man8
//	      -> configuration        configuration.go   man5
//	what no command and no key tells of itself       text.go
//	the man macros of groff       roff.go
package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"penstock/config"
)

// Setting is the annotation of flags that are settings of the daemon.
const Setting = "setting"

// manual makes its pages from the tree of commands and the keys of the configuration.
type manual struct {
	root         *cobra.Command
	date, source string // of the pages' foot
}

// Write makes the pages below a directory, as man8 and man5. The date is that of
// SOURCE_DATE_EPOCH; source is the program's name and version.
func Write(root *cobra.Command, source, dir string) error {
	date, err := sourceDate()
	if err != nil {
		return fmt.Errorf("man: %w", err)
	}
	m := manual{root: root, date: date, source: source}
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

// sourceDate is that of the source (reproducible-builds.org/specs/source-date-epoch), else none.
func sourceDate() (string, error) {
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

type page struct{ name, section, text string }

// commandSection is the manual's for a system's administrator.
const commandSection = "8"

func (m manual) pages() []page {
	pages := []page{m.overview(), m.configuration()}
	for _, cmd := range m.commands() {
		pages = append(pages, m.command(cmd))
	}
	return pages
}

// commands are the subcommands for people, those of a subcommand behind it.
func (m manual) commands() []*cobra.Command {
	var all []*cobra.Command
	for _, c := range m.root.Commands() {
		all = append(append(all, c), c.Commands()...)
	}
	return slices.DeleteFunc(all, func(c *cobra.Command) bool {
		return !c.IsAvailableCommand() || c.Name() == "help" || !c.Parent().IsAvailableCommand() && c.Parent() != m.root
	})
}

func (m manual) overview() page {
	r := m.open(m.root)
	r.section("COMMANDS")
	for _, cmd := range m.commands() {
		r.item(reference(pageName(cmd), commandSection), escaped(cmd.Short)+".")
	}
	r.item(literal("penstock completion")+" "+placeholder("SHELL"), "Print the completion for bash, zsh, fish or powershell.")
	for _, s := range overviewSections {
		s.write(r)
	}
	m.seeAlso(r, m.root)
	return page{m.root.Name(), commandSection, r.String()}
}

func (m manual) command(cmd *cobra.Command) page {
	r := m.open(cmd)
	m.options(r, cmd)
	if cmd.Example != "" {
		r.section("EXAMPLES")
		r.example(cmd.Example)
	}
	if cmd.Flags().Lookup("url") != nil {
		clientExitStatus.write(r)
	} else {
		exitStatus.write(r)
	}
	m.seeAlso(r, cmd)
	return page{pageName(cmd), commandSection, r.String()}
}

// open begins a command's page: its name, how it is called, what it does.
func (m manual) open(cmd *cobra.Command) *roff {
	r := newPage(pageName(cmd), commandSection, m.date, m.source)
	r.section("NAME")
	r.lines(escaped(pageName(cmd)) + ` \- ` + escaped(strings.ToLower(cmd.Short[:1])+cmd.Short[1:]))
	r.section("SYNOPSIS")
	name, arguments, _ := strings.Cut(cmd.UseLine(), " [flags]")
	called := literal(cmd.CommandPath())
	if args := strings.TrimSpace(strings.TrimPrefix(name, cmd.CommandPath()) + arguments); args != "" {
		called += " " + placeholder(args)
	}
	if cmd.HasAvailableSubCommands() {
		called += " " + placeholder("COMMAND")
	}
	r.lines(called + ` [\fIOPTION\fR]...`)
	for _, alias := range cmd.Aliases {
		r.line(".br")
		r.lines(literal(m.root.Name()+" "+alias) + ` [\fIOPTION\fR]...`)
	}
	r.section("DESCRIPTION")
	about := cmd.Long
	if about == "" {
		about = cmd.Short + "."
	}
	r.text(prose(about))
	return r
}

// options are a command's own, then those that are settings; one page alone
// holds all of the settings.
func (m manual) options(r *roff, cmd *cobra.Command) {
	var own, settings []*pflag.Flag
	cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Annotations[Setting] != nil {
			settings = append(settings, f)
		} else if f.Name != "help" && !f.Hidden {
			own = append(own, f)
		}
	})
	if len(own)+len(settings) == 0 {
		return
	}
	r.section("OPTIONS")
	for _, f := range own {
		optionItem(r, f)
	}
	if len(settings) == len(config.Keys()) && cmd.Name() != "serve" {
		r.text("All settings that " + reference("penstock-serve", commandSection) + " takes as options are options here, too.")
		return
	}
	if len(settings) == 0 {
		return
	}
	if len(own) > 0 {
		r.text("Settings, which win over the environment and the file; a list is divided by commas. See " + reference("penstock.toml", "5") + ".")
	}
	for _, f := range settings {
		optionItem(r, f)
	}
}

func optionItem(r *roff, f *pflag.Flag) {
	value, usage := pflag.UnquoteUsage(f)
	value = strings.TrimSuffix(value, "Array") // it may be given again
	term := literal("--" + f.Name)
	if f.Shorthand != "" {
		term = literal("-"+f.Shorthand) + ", " + term
	}
	if value != "" {
		term += " " + placeholder(value)
	}
	r.item(term, sentence(usage))
}

func (m manual) seeAlso(r *roff, cmd *cobra.Command) {
	var refs []string
	for _, other := range append([]*cobra.Command{m.root}, m.commands()...) {
		if other != cmd {
			refs = append(refs, reference(pageName(other), commandSection))
		}
	}
	refs = append(refs, reference("penstock.toml", "5"))
	if cmd == m.root {
		refs = append(refs, reference("cgroups", "7"), reference("systemd.resource-control", "5"))
	}
	r.section("SEE ALSO")
	r.lines(strings.Join(refs, ",\n"))
}

func pageName(cmd *cobra.Command) string { return strings.ReplaceAll(cmd.CommandPath(), " ", "-") }

func reference(name, section string) string { return literal(name) + "(" + section + ")" }

// sentence begins with a capital, unless that is a value ("auto: ..."), and
// ends with a stop.
func sentence(s string) string {
	if first, _, _ := strings.Cut(s, " "); first != "" && !strings.HasSuffix(first, ":") {
		s = strings.ToUpper(s[:1]) + s[1:]
	}
	return prose(s + ".")
}
