package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"
)

const (
	ofTheHost   = "host"
	imageRounds = 40 // in each of ROUNDS
)

// images asks for the same program of the host and of an image in turn: what a root file
// system of its own adds to a run. Both are the same static busybox.
func (b *bench) images() error {
	for _, needed := range []string{"bwrap", "busybox"} {
		if _, err := exec.LookPath(needed); err != nil {
			b.note("image: not run: %v", err)
			return nil
		}
	}
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root := filepath.Join(dir, "image")
	busybox, err := busyboxIn(root)
	if err != nil {
		return err
	}
	config := fmt.Sprintf("[images.small]\nrootfs = %q\n", root) +
		backendOf(ofTheHost, busybox, "") + backendOf("image", "/bin/busybox", "image = \"small\"\n")
	d, err := startPenstock(b.penstock, filepath.Join(dir, "state"), config)
	if err != nil {
		return err
	}
	defer d.end()
	b.daemons = []daemon{{now, d}}
	f := b.figure("Image", "ms", against(ofTheHost, "+ <= 10 ms"))
	client := newClient(1)
	defer client.CloseIdleConnections()
	once := func(side, model string) contender {
		asked := target{daemon: daemon{side, d}, path: completions, body: chat(model, "", false), want: `"stop"`}
		return contender{side, func(int) error {
			begun := time.Now()
			err := asked.ask(client)
			f.add(side, milliseconds(time.Since(begun)))
			return err
		}}
	}
	if err := inTurn(imageRounds*b.rounds, []contender{once(ofTheHost, ofTheHost), once(now, "image")}); err != nil {
		return err
	}
	var added []float64
	for i, took := range f.samples[now] {
		added = append(added, took-f.samples[ofTheHost][i])
	}
	slices.Sort(added)
	b.note("an image adds %s ms; the least of a tenth: %s ms", quartilesOf(added), short(added[len(added)/10]))
	return nil
}

func backendOf(name, program, more string) string {
	command, _ := json.Marshal([]string{program, "true"}) // strings always can be
	return fmt.Sprintf("[backends.%s]\nkind = \"exec\"\ncommand = %s\n%s", name, command, more)
}

// busyboxIn makes a root file system of one program; it tells that of the host, too.
func busyboxIn(root string) (host string, err error) {
	host, err = exec.LookPath("busybox")
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(host)
	if err != nil {
		return "", err
	}
	for _, name := range []string{"bin", "proc", "dev", "etc", "tmp"} {
		err = errors.Join(err, os.MkdirAll(filepath.Join(root, name), 0o755))
	}
	return host, errors.Join(err, os.WriteFile(filepath.Join(root, "bin", "busybox"), text, fs.FileMode(0o755)))
}
