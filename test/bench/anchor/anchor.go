// Package anchor is what Penstock is measured beside: the least that could be called
// the same job, with no record, no limits and no receipt. The servers are this
// program started as another, `bench anchor NAME`, so that their processor time is
// theirs alone.
//
//	naive.go   an HTTP handler that runs a program in a group of its own
//	fanout.go  one command's lines to many readers as server-sent events; tick, the command
//	kill.go    a tree of processes ended by cgroup.kill
package anchor

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"

	"penstock/cgroup/cgroupfs"
)

// Main is the program when its arguments name an anchor; else done is false.
func Main(args []string) (done bool, err error) {
	if len(args) < 2 || args[0] != "anchor" {
		return false, nil
	}
	switch args[1] {
	case "naive":
		return true, naive(args[2:])
	case "fanout":
		return true, fanOut()
	case "tick":
		return true, tick(os.Stdin, os.Stdout)
	}
	return true, fmt.Errorf("anchor: %q: not one of naive, fanout, tick", args[1])
}

// serve tells the address on stdout, then answers until the process is ended.
func serve(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("http://" + l.Addr().String())
	return http.Serve(l, h)
}

// Group is a path for a new group of the v2 tree, wherever that is mounted.
func Group(name string) (string, error) {
	at, err := cgroupfs.FindLocation()
	if err != nil {
		return "", err
	}
	return filepath.Join(at.Mount.Point, fmt.Sprintf("penstock-bench-%s-%d", name, os.Getpid())), nil
}
