package main

import (
	"errors"
	"fmt"

	"penstock/config"
)

// explain prints every problem of a configuration on its own, since the first
// line of one must be "file:line:col" for editors to follow.
func (a *app) explain(err error) error {
	var problems config.Problems
	if !errors.As(err, &problems) {
		return err
	}
	fmt.Fprintln(a.stderr, problems)
	noun := "problems"
	if len(problems) == 1 {
		noun = "problem"
	}
	fmt.Fprintf(a.stderr, "penstock: %d %s in the configuration\n", len(problems), noun)
	return exitCode(exitFailed)
}
