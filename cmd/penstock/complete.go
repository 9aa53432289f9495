package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"penstock/client"
	"penstock/cmd/penstock/terminal"
)

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
