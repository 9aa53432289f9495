package main

import (
	"fmt"
	"io"
	"strings"

	"penstock/backend"
)

// Marks at the begin of the lines that are no answer.
const (
	markThinking = "~ "
	markTool     = "* "
	markNotice   = "! "
	markEnd      = "= "
)

// pen writes on one output and knows whether a line is open there.
type pen struct {
	w      io.Writer
	screen screen
	open   bool   // the line has text
	inside string // the mark of the lines being written; "" is the answer
	status bool   // a line is drawn that is to go
	err    error  // the first failure to write; sticky
}

func newPen(w io.Writer) *pen { return &pen{w: w, screen: newScreen(w)} }

func (p *pen) write(text string) {
	if p.err == nil && text != "" {
		_, p.err = io.WriteString(p.w, text)
	}
}

// text goes on with the answer, as it is; a terminal gets no command from it.
func (p *pen) text(text string) {
	if text == "" {
		return
	}
	p.begin("")
	if p.screen.terminal {
		text = harmless(text, "\n\t")
	}
	p.write(text)
	p.open = !strings.HasSuffix(text, "\n")
}

// aside goes on with lines under a mark.
func (p *pen) aside(mark, text string) {
	if text == "" {
		return
	}
	p.begin(mark)
	if p.screen.terminal {
		text = harmless(text, "\n\t")
	}
	for line := range strings.Lines(text) {
		if !p.open {
			p.write(p.screen.paint(dim, mark))
		}
		body, ended := strings.CutSuffix(line, "\n")
		p.write(p.screen.paint(dim, body))
		if p.open = !ended; ended {
			p.write("\n")
		}
	}
}

// line is one whole line under a mark.
func (p *pen) line(mark, colour, text string) {
	p.endLine()
	p.write(p.screen.paint(colour, mark+oneLine(text)) + "\n")
}

// begin ends a line that is of another kind.
func (p *pen) begin(mark string) {
	p.clear()
	if p.open && p.inside != mark {
		p.endLine()
	}
	p.inside = mark
}

func (p *pen) endLine() {
	p.clear()
	if p.open {
		p.write("\n")
	}
	p.open = false
}

// show draws a line that stays until something else is written; only where a
// line is free.
func (p *pen) show(text string) {
	if p.open || !p.screen.terminal {
		return
	}
	columns, _ := p.screen.size()
	p.write("\r" + p.screen.paint(dim, p.screen.clip(text, columns-1)) + clearLine)
	p.status = true
}

func (p *pen) clear() {
	if p.status {
		p.write("\r" + clearLine)
		p.status = false
	}
}

// toolLine is a step of the agent's own tools in one line.
func toolLine(t *backend.Tool) string {
	const most = 160
	detail := t.Input
	if t.Status != "started" && t.Output != "" {
		detail = t.Output
	}
	detail = oneLine(detail)
	if r := []rune(detail); len(r) > most {
		detail = string(r[:most]) + "..."
	}
	if detail == "" {
		return fmt.Sprintf("%s %s", t.Name, t.Status)
	}
	return fmt.Sprintf("%s %s: %s", t.Name, t.Status, detail)
}
