package demo

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"penstock/internal/bytesize"
)

// spewLine is how much text one line of /spew holds, in bytes.
const spewLine = 4096

func (p *program) timed(word, argument string) error {
	d, err := parseDuration(argument)
	if err != nil {
		return err
	}
	switch word {
	case "/delay":
		p.delay = d
	case "/cpu":
		for end := time.Now().Add(d); time.Now().Before(end) && p.ctx.Err() == nil; {
		}
		return p.ctx.Err()
	default:
		return p.sleep(d)
	}
	return nil
}

func (p *program) sleep(d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

func (p *program) sized(word, argument string) error {
	size, err := parseSize(argument)
	if err != nil {
		return err
	}
	if word == "/spew" {
		return p.spew(size)
	}
	memory := make([]byte, size)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	p.held = append(p.held, memory)
	return nil
}

func (p *program) spew(size int) error {
	text := strings.Repeat("x", spewLine-1) + "\n"
	for ; size > 0; size -= spewLine {
		if err := p.say(map[string]any{"text": text[:min(size, spewLine)]}); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) exit(argument string) error {
	status, err := strconv.ParseUint(argument, 10, 8)
	if err != nil {
		return fmt.Errorf("/exit %q: want a status from 0 to 255", argument)
	}
	return exitStatus(status)
}

// parseDuration reads "5" (seconds) or any Go duration.
func parseDuration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += "s"
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("%q: want a time like 5 or 20ms", text)
	}
	return d, nil
}

// parseSize reads bytes: 512, 64KiB, 500MiB, 2G.
func parseSize(text string) (int, error) {
	n, err := bytesize.Parse(text)
	if err != nil || n > bytesize.TiB {
		return 0, fmt.Errorf("%q: want a size like 500MiB, at most 1024GiB", text)
	}
	return int(n), nil
}
