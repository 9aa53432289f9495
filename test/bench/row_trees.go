package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"penstock/test/bench/anchor"
)

const bareKill = "bare kill"

// treeSizes are numbers of processes, each with the ratio wanted.
var treeSizes = []struct {
	processes int
	goal      string
}{{1, "<= 2.5x"}, {10, "<= 2x"}, {100, "<= 1.3x"}, {1000, "<= 1.1x"}}

// trees ends trees of processes, each a session of its own: from the cancel until
// the group is removed, beside cgroup.kill and rmdir.
func (b *bench) trees() error {
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	command, _ := json.Marshal(anchor.Tree) // strings always can be
	config := fmt.Sprintf("[limits]\nmemory_max = \"2GiB\"\npids_max = 3000\n[budget]\nmemory = \"90%%\"\n[backends.tree]\nkind = \"exec\"\ncommand = %s\n", command)
	daemons, end, err := b.startDaemons(dir, config)
	defer end()
	if err != nil {
		return err
	}
	for _, size := range treeSizes {
		f := b.figure(fmt.Sprintf("Tree/processes=%d", size.processes), "ms", against(bareKill, size.goal))
		all := []contender{{bareKill, func(int) error {
			took, err := anchor.KillTree(size.processes)
			f.add(bareKill, milliseconds(took))
			return err
		}}}
		for _, d := range daemons {
			all = append(all, contender{d.name, func(int) error {
				took, err := d.cancelTree(size.processes)
				f.add(d.name, milliseconds(took))
				return err
			}})
		}
		if err := inTurn(b.rounds, all); err != nil {
			return err
		}
	}
	return nil
}

// cancelTree times the end of one through the API.
func (s *server) cancelTree(processes int) (time.Duration, error) {
	root, err := s.groups()
	if err != nil {
		return 0, err
	}
	client := newClient(2)
	defer client.CloseIdleConnections()
	resp, err := post(context.Background(), client, s.url+completions, chat("tree", strconv.Itoa(processes), true))
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	id := resp.Header.Get("X-Run-Id")
	group := filepath.Join(root, "runs", id)
	// The headers are there before the run.
	if _, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil {
		return 0, err
	}
	if err := anchor.Grown(group, processes); err != nil {
		return 0, err
	}
	// What is timed is the end of the tree, not how a connection is made: it is there.
	if _, err := s.get(client, "/v1/runs/"+id); err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	go func() { _, err := io.Copy(io.Discard, resp.Body); ended <- err }()
	begun := time.Now()
	cancelled, err := post(context.Background(), client, s.url+"/v1/runs/"+id+"/cancel", "{}")
	if err != nil {
		return 0, err
	}
	cancelled.Body.Close()
	for {
		if _, err := os.Stat(group); errors.Is(err, os.ErrNotExist) {
			break
		}
		anchor.Pause(50 * time.Microsecond)
	}
	took := time.Since(begun)
	return took, <-ended
}

// groups is the directory of the daemon's groups.
func (s *server) groups() (string, error) {
	client := newClient(1)
	defer client.CloseIdleConnections()
	raw, err := s.get(client, "/health")
	if err != nil {
		return "", err
	}
	var health struct{ Isolation struct{ Root string } }
	return health.Isolation.Root, json.Unmarshal(raw, &health)
}
