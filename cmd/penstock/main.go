// Command penstock puts coding-agent command lines behind one HTTP API, each
// run in a cgroup of its own.
package main

import (
	"context"
	"os"
)

func main() {
	os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
