package main

import (
	"os"
	"path/filepath"
)

// starts times servers from their start until they answer: Penstock, that it is
// ready.
func (b *bench) starts() error {
	dir, err := tempDir("")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f := b.figure("Start", "ms", against(goJudge, "<= 40 ms"), against(bridge, ""))
	once := func(name string, start func() (*server, error)) contender {
		return contender{name, func(int) error {
			s, err := start()
			if err != nil {
				return err
			}
			s.end()
			f.add(name, milliseconds(s.took))
			return nil
		}}
	}
	var all []contender
	for _, s := range b.sides() {
		all = append(all, once(s.name, func() (*server, error) {
			return startPenstock(s.binary, filepath.Join(dir, s.name), runsConfig)
		}))
	}
	if b.goJudge == "" {
		b.note(noJudge)
	} else {
		all = append(all, once(goJudge, func() (*server, error) { return b.startJudge() }))
	}
	if b.bridge == "" {
		b.note(noBridge)
		return inTurn(2*b.rounds, all)
	}
	program, err := b.standIn(dir)
	if err != nil {
		return err
	}
	all = append(all, once(bridge, func() (*server, error) { return b.startBridge(filepath.Join(dir, "bridge"), program) }))
	return inTurn(2*b.rounds, all)
}
