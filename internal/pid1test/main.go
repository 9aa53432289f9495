// Command pid1test is process 1 of a run in an image and nothing else, for tests of what starts it.
package main

import (
	"os"

	"penstock/sandbox/pid1"
)

func main() { os.Exit(pid1.Main()) }
