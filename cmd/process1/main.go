// Command process1 is process 1 of a run in an image, and nothing else.
//
// The penstock program is that, too (penstock process1), but it is large: to start it
// takes most of a run's cold start. So `make build` builds this one, static, and embeds it
// in the other: see cmd/penstock/process1.
package main

import (
	"os"

	"penstock/sandbox/pid1"
)

func main() { os.Exit(pid1.Main()) }
