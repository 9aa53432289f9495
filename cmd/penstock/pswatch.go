package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"penstock/client"
)

// The terminal's own screen is kept aside, and its cursor hidden (xterm's
// control sequences 1049 and 25).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// watchScreen draws again and again, until q, Ctrl-C or a signal. A daemon that
// is restarted meanwhile is waited for.
func (p *ps) watchScreen(ctx context.Context, stdin io.Reader) (err error) {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer stop()
	keys, restore, err := rawKeys(stdin)
	if err != nil {
		return err
	}
	defer restore()
	if _, err := io.WriteString(p.out, enterScreen); err != nil {
		return err
	}
	defer func() {
		_, left := io.WriteString(p.out, leaveScreen)
		err = errors.Join(err, left)
	}()
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	defer signal.Stop(resized)
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		if err := p.redraw(ctx); err != nil || ctx.Err() != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-tick.C:
		case <-resized:
		case key := <-keys:
			if key == 'q' || key == 'Q' || key == 3 || key == 4 { // Ctrl-C, Ctrl-D
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *ps) redraw(ctx context.Context) error {
	columns, lines := p.screen.size()
	text, err := p.draw(ctx, lines)
	var absent *client.Unreachable
	switch {
	case errors.As(err, &absent):
		text = p.screen.paint(red, p.screen.clip(fmt.Sprintf("no daemon answers at %v: trying again", absent), columns)) + "\n"
	case err != nil:
		return err
	}
	text = strings.TrimSuffix(text, "\n")
	_, err = io.WriteString(p.out, home+strings.ReplaceAll(text, "\n", clearLine+"\r\n")+clearLine+clearBelow)
	return err
}

// rawKeys gives the keys that are pressed, if a terminal is read from.
func rawKeys(stdin io.Reader) (<-chan byte, func(), error) {
	f, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}, nil
	}
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("ps: terminal: %w", err)
	}
	keys := make(chan byte)
	// It ends with the program: a read of a terminal can't be called off.
	go func() {
		var key [1]byte
		for {
			if n, err := f.Read(key[:]); err != nil || n == 0 {
				return
			}
			keys <- key[0]
		}
	}()
	return keys, func() { _ = term.Restore(int(f.Fd()), old) }, nil
}
