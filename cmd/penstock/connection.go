package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/cmd/penstock/terminal"
	"penstock/config"
	"penstock/internal/hint"
)

// connection is where a subcommand for people finds the daemon, and what it shows there.
type connection struct {
	url, tokenFile string
	settings       *settings
	tried          []string // addresses, once connect was called
	from           string   // what says that the daemon is there
}

func addConnection(cmd *cobra.Command) *connection {
	conn := &connection{settings: &settings{flags: map[string]string{}}}
	f := cmd.Flags()
	f.StringVar(&conn.url, "url", "", "`address` of the daemon, http://HOST:PORT or unix:/PATH (default $PENSTOCK_URL, else listen of its configuration)")
	f.StringVar(&conn.settings.file, "config", "", "configuration `file` to find the daemon by; must exist")
	f.StringVar(&conn.tokenFile, "token-file", "", "`file` with the token to show (default $PENSTOCK_TOKEN_FILE, else the token in $PENSTOCK_TOKEN)")
	_ = cmd.MarkFlagFilename("config", "toml")
	return conn
}

// connect gives a client of the first address that answers.
func (conn *connection) connect(ctx context.Context) (*client.Client, error) {
	addresses, err := conn.addresses()
	if err != nil {
		return nil, err
	}
	token, err := conn.token()
	if err != nil {
		return nil, err
	}
	var last error
	for _, address := range addresses {
		c, err := client.New(address, token)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", conn.from, err)
		}
		if len(addresses) == 1 {
			return c, nil // the first question tells as well
		}
		if _, last = c.Health(ctx); last == nil {
			return c, nil
		}
	}
	return nil, last
}

func (conn *connection) addresses() ([]string, error) {
	switch env := os.Getenv("PENSTOCK_URL"); {
	case conn.url != "":
		conn.tried, conn.from = []string{conn.url}, "--url"
		return conn.tried, nil
	case env != "" && conn.settings.file == "":
		conn.tried, conn.from = []string{env}, "PENSTOCK_URL"
		return conn.tried, nil
	}
	found, err := config.ReadListen(config.Sources{File: conn.settings.file, Environ: os.Environ()})
	if err != nil {
		return nil, hint.Errorf("--url or PENSTOCK_URL tells it, too", "where the daemon is: %w", err)
	}
	conn.from = "listen of " + found.File
	if found.File == "" {
		conn.from = "the default, for want of a configuration"
	}
	if os.Getenv("PENSTOCK_LISTEN") != "" {
		conn.from = "PENSTOCK_LISTEN"
	}
	for _, listen := range found.Addresses {
		if address := reachable(listen); address != "" {
			conn.tried = append(conn.tried, address)
		}
	}
	if len(conn.tried) == 0 {
		return nil, hint.Errorf("--url or PENSTOCK_URL tells which", "where the daemon is: %s takes any free port", conn.from)
	}
	return conn.tried, nil
}

// reachable is the address to call for one that is listened on; "" where only
// the daemon knows the port.
func reachable(listen string) string {
	if strings.HasPrefix(listen, "unix:") {
		return listen
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil || port == "0" {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || (err == nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
		if ip.Is6() {
			host = "::1"
		}
	}
	return "http://" + net.JoinHostPort(host, port)
}

// token is "" where none is given: many daemons want none.
func (conn *connection) token() (string, error) {
	path := conn.tokenFile
	if path == "" {
		path = os.Getenv("PENSTOCK_TOKEN_FILE")
	}
	if path == "" {
		return os.Getenv("PENSTOCK_TOKEN"), nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token file: %s: want one token and nothing else", path)
	}
	return token, nil
}

// explain adds what an operator can do about it, and the exit code.
func (conn *connection) explain(a *app, err error) error {
	var absent *client.Unreachable
	var told *client.Error
	var cut *client.Cut
	switch {
	case errors.As(err, &cut):
	case errors.As(err, &absent):
		fmt.Fprintf(a.stderr, "penstock: no daemon answers at %v\n", absent)
		if len(conn.tried) > 1 {
			fmt.Fprintf(a.stderr, "  tried %s\n", strings.Join(conn.tried, ", "))
		}
		if conn.from != "--url" {
			fmt.Fprintf(a.stderr, "  the address is from %s; --url or PENSTOCK_URL gives another\n", conn.from)
		}
		fmt.Fprintf(a.stderr, "  to start one: `penstock serve`, or `systemctl start penstock`; `penstock check` says what is in its way\n")
		return exitCode(exitUnreachable)
	case errors.As(err, &told) && told.Code == "invalid_api_key":
		return fmt.Errorf("%w: --token-file or PENSTOCK_TOKEN_FILE gives the token to show", err)
	}
	return err
}

// ask wraps the work of a subcommand that speaks to the daemon.
func (a *app) ask(conn *connection, do func(ctx context.Context, c *client.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.begun = true
		c, err := conn.connect(cmd.Context())
		if err == nil {
			err = do(cmd.Context(), c, args)
		}
		if err != nil {
			return conn.explain(a, err)
		}
		return nil
	}
}

// wants bounds the number of arguments, -1 is any, and says what they are.
func wants(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || (most >= 0 && len(args) > most) {
			return fmt.Errorf("%s: want %s, as in: %s", cmd.Name(), what, strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		}
		return nil
	}
}

// completeRuns completes the ids of runs, up to most arguments; -1 is any number.
func completeRuns(conn *connection, most int) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if most >= 0 && len(args) >= most {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := conn.connect(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		filter := client.Filter{}
		if cmd.Name() == "cancel" {
			filter.State = "live"
		}
		runs, err := c.Runs(cmd.Context(), filter)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []cobra.Completion
		for _, row := range terminal.Rows(runs, time.Now()) {
			if !slices.Contains(args, row.ID) {
				out = append(out, cobra.CompletionWithDesc(row.ID, fmt.Sprintf("%s, %s, %s", row.Model, row.State, terminal.Age(row.Age))))
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeModels completes the first argument with the models that are ready.
func completeModels(conn *connection) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		c, err := conn.connect(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		models, err := c.Models(cmd.Context())
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return ready(models), cobra.ShellCompDirectiveNoFileComp
	}
}

// ready are the ids of the models that can be asked for now.
func ready(all []client.Model) []string {
	var ids []string
	for _, m := range all {
		if m.Ready {
			ids = append(ids, m.ID)
		}
	}
	return ids
}
