//go:build !process1

package process1

// program is left out of a plain `go build`.
const program = ""
