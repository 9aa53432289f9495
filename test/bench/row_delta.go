package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"penstock/test/clis"
	"penstock/test/model"
)

const (
	byHand     = "by hand"
	deltaAsked = "SCN=text N=4" // of the scripted model, test/model
)

const deltaConfig = `[limits]
memory_max = "3GiB"
[budget]
memory = "100%"
max_runs = 4
`

// firstDeltas times the real CLIs from their start to the first text, each by hand
// and through Penstock, against a scripted model that answers at once; and how long
// after the last text the answer ends.
func (b *bench) firstDeltas() error {
	installed := filepath.Join(b.top, "test", "clis")
	commands, err := clis.Commands(installed)
	if errors.Is(err, clis.ErrNotInstalled) {
		b.note("not run: the CLIs aren't installed (test/clis/install)")
		return nil
	}
	if err != nil {
		return err
	}
	chosen, err := b.chosenCLIs(commands)
	if err != nil {
		return err
	}
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := model.New()
	if err := m.Start("127.0.0.1:0"); err != nil {
		return err
	}
	defer m.Close()
	home := filepath.Join(dir, "home")
	if err := clis.Seed(home, m.URL()); err != nil {
		return err
	}
	backends, env := clis.Backends(installed, m.URL(), commands)
	env["HOME"] = home
	var pairs []string
	for k, v := range env {
		pairs = append(pairs, k+"="+v)
	}
	daemons, end, err := b.startDaemons(dir, deltaConfig+backends, pairs...)
	defer end()
	if err != nil {
		return err
	}
	for _, cli := range chosen {
		f := b.figure("Delta/cli="+cli, "ms", against(byHand, "1.0x"))
		tail := b.figure("Tail/cli="+cli, "ms")
		all := []contender{{byHand, func(int) error {
			took, err := handDelta(cli, commands[cli], dir, home, m.URL())
			f.add(byHand, milliseconds(took))
			return err
		}}}
		for _, d := range daemons {
			all = append(all, contender{d.name, func(int) error {
				took, after, err := d.firstDelta(cli)
				f.add(d.name, milliseconds(took))
				tail.add(d.name, milliseconds(after))
				return err
			}})
		}
		// The first time, a CLI fills its caches.
		for _, c := range all {
			if err := c.once(0); err != nil {
				return fmt.Errorf("%s: %s: %w", cli, c.name, err)
			}
		}
		clear(f.samples)
		clear(tail.samples)
		if err := inTurn((b.rounds+1)/2, all); err != nil {
			return fmt.Errorf("%s: %w", cli, err)
		}
	}
	return nil
}

// firstDelta reads the whole answer, and tells when its first text was there, and how
// long after the last one its end.
func (s *server) firstDelta(model string) (took, tail time.Duration, err error) {
	client := newClient(1)
	defer client.CloseIdleConnections()
	begun := time.Now()
	resp, err := post(context.Background(), client, s.url+completions, chat(model, deltaAsked, true))
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 1<<20)
	var last []byte
	var text time.Time
	for lines.Scan() {
		if line := lines.Bytes(); len(line) > 0 {
			last = bytes.Clone(line)
		}
		_, words, found := bytes.Cut(lines.Bytes(), []byte(`"content":"`))
		if found && words[0] != '"' {
			text = time.Now()
		}
		if took == 0 && !text.IsZero() {
			took = text.Sub(begun)
		}
	}
	if took == 0 {
		return 0, 0, fmt.Errorf("no text: status %d, %s: %w", resp.StatusCode, last, lines.Err())
	}
	return took, time.Since(text), lines.Err()
}
