package terminal

import (
	"fmt"
	"io"
	"strings"

	"penstock/backend"
)

// Marks at the beginning of the lines that are no answer.
const (
	MarkThinking = "~ "
	MarkTool     = "* "
	MarkNotice   = "! "
	MarkEnd      = "= "
)

// Printer writes on one output and knows whether a line is open there.
type Printer struct {
	w        io.Writer
	terminal Terminal
	open     bool   // the line has text
	inside   string // the mark of the lines being written; "" is the answer
	status   bool   // a line is drawn that is to go
	err      error  // the first failure to write; sticky
}

// NewPrinter writes on w.
func NewPrinter(w io.Writer) *Printer { return &Printer{w: w, terminal: New(w)} }

// Err is the first failure to write.
func (p *Printer) Err() error { return p.err }

// IsTerminal tells whether the output is a terminal.
func (p *Printer) IsTerminal() bool { return p.terminal.terminal }

// InLine tells whether a line has text and no end yet.
func (p *Printer) InLine() bool { return p.open }

// Print writes the text as it is.
func (p *Printer) Print(text string) {
	if p.err == nil && text != "" {
		_, p.err = io.WriteString(p.w, text)
	}
}

// Text goes on with the answer, as it is; a terminal gets no command from it.
func (p *Printer) Text(text string) {
	if text == "" {
		return
	}
	p.begin("")
	if p.terminal.terminal {
		text = Sanitize(text, "\n\t")
	}
	p.Print(text)
	p.open = !strings.HasSuffix(text, "\n")
}

// Aside goes on with lines under a mark.
func (p *Printer) Aside(mark, text string) {
	if text == "" {
		return
	}
	p.begin(mark)
	if p.terminal.terminal {
		text = Sanitize(text, "\n\t")
	}
	for line := range strings.Lines(text) {
		if !p.open {
			p.Print(p.terminal.Paint(Dim, mark))
		}
		body, ended := strings.CutSuffix(line, "\n")
		p.Print(p.terminal.Paint(Dim, body))
		if p.open = !ended; ended {
			p.Print("\n")
		}
	}
}

// Line is one whole line under a mark.
func (p *Printer) Line(mark, colour, text string) {
	p.EndLine()
	p.Print(p.terminal.Paint(colour, mark+OneLine(text)) + "\n")
}

// begin ends a line that is of another kind.
func (p *Printer) begin(mark string) {
	p.ClearStatus()
	if p.open && p.inside != mark {
		p.EndLine()
	}
	p.inside = mark
}

// EndLine ends the line that is open, if any.
func (p *Printer) EndLine() {
	p.ClearStatus()
	if p.open {
		p.Print("\n")
	}
	p.open = false
}

// ShowStatus draws a line that stays until something else is written; only where a
// Line is free.
func (p *Printer) ShowStatus(text string) {
	if p.open || !p.terminal.terminal {
		return
	}
	columns, _ := p.terminal.Size()
	p.Print("\r" + p.terminal.Paint(Dim, p.terminal.Clip(text, columns-1)) + clearLine)
	p.status = true
}

// ClearStatus takes away what ShowStatus drew.
func (p *Printer) ClearStatus() {
	if p.status {
		p.Print("\r" + clearLine)
		p.status = false
	}
}

// ToolLine is a step of the agent's own tools in one line.
func ToolLine(t *backend.Tool) string {
	const most = 160
	detail := t.Input
	if t.Status != "started" && t.Output != "" {
		detail = t.Output
	}
	detail = OneLine(detail)
	if r := []rune(detail); len(r) > most {
		detail = string(r[:most]) + "..."
	}
	if detail == "" {
		return fmt.Sprintf("%s %s", t.Name, t.Status)
	}
	return fmt.Sprintf("%s %s: %s", t.Name, t.Status, detail)
}
