package main

import (
	"fmt"
	"os"
	"path/filepath"
)

const linesClients = 16

// eventLines measures requests to a program that prints, at once, what Claude Code
// printed when it was recorded.
func (b *bench) eventLines() error {
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	program, err := b.standIn(dir)
	if err != nil {
		return err
	}
	all, err := b.lineTargets(dir, program)
	defer all.end()
	if err != nil {
		return err
	}
	of := fmt.Sprintf("/clients=%d", linesClients)
	rate := b.figure("Lines"+of, "runs/s", moreIsBetter, against(bridge, ">= 12x"), against(naive, ""))
	used := b.figure("LinesProcessor"+of, "ms/run", against(bridge, ""), against(naive, ""))
	for _, t := range all.targets {
		if _, _, err := t.load(4, b.slice/2); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	return b.loadInTurn(all.targets, linesClients, rate, used)
}

// standIn is a program that takes any option, reads no word of its prompt, and
// answers as Claude Code would.
func (b *bench) standIn(dir string) (string, error) {
	lines := filepath.Join(b.top, "backend", "testdata", "claude", "text.jsonl")
	text, err := os.ReadFile(lines)
	if err != nil {
		return "", err
	}
	said := filepath.Join(dir, "lines.jsonl")
	if err := os.WriteFile(said, text, 0o644); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "claude")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" = --version ] && { echo '2.1.332 (Claude Code)'; exit; }\nexec cat %s\n", said)
	return program, os.WriteFile(program, []byte(script), 0o755)
}

func (b *bench) lineTargets(dir, program string) (*contest, error) {
	config := runsConfig + fmt.Sprintf("[backends.claude]\ncommand = [%q]\n", program)
	ours := target{path: completions, body: chat("claude", "hello", true), want: "[DONE]"}
	all, err := b.withNaive(dir, config, program, ours, target{path: "/run", body: "hello", want: `"result"`})
	if err != nil {
		return all, err
	}
	if b.bridge == "" {
		b.note(noBridge)
		return all, nil
	}
	other, err := b.startBridge(filepath.Join(dir, bridge), program)
	if err != nil {
		return all, err
	}
	ours.body = chat("claude/sonnet", "hello", true)
	all.enter(bridge, other, ours)
	return all, nil
}
