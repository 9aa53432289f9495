package config

import (
	"fmt"
	"strings"
)

// Problem is one thing an operator must mend.
type Problem struct {
	File    string // file, "environment" or "flags"; "" when it is of no one place
	Line    int    // from 1; 0 is unknown
	Col     int    // from 1, in bytes; 0 is unknown
	Key     string // dotted key, environment variable or flag
	Message string
	Hint    string // what to do; may be ""
	excerpt string // the line and a caret below the place
}

// String is "file:line:col: key: message (hint)", then the line and its caret.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d:%d", p.Line, p.Col)
		}
		b.WriteString(": ")
	}
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Message)
	if p.Hint != "" {
		b.WriteString(" (" + p.Hint + ")")
	}
	if p.excerpt != "" {
		b.WriteString("\n" + p.excerpt)
	}
	return b.String()
}

// Problems is every problem of a configuration; Load returns it as its error.
type Problems []Problem

// Error prints all of them, one after the other.
func (p Problems) Error() string {
	lines := make([]string, 0, len(p))
	for _, one := range p {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// fault is a problem that does not know its place yet.
type fault struct{ message, hint string }

func (f *fault) Error() string { return f.message }

func faultf(hint, format string, args ...any) *fault {
	return &fault{message: fmt.Sprintf(format, args...), hint: hint}
}

// origin is where a value was written.
type origin struct {
	file      string // "" is a built-in default
	name      string // environment variable or flag; "" shows the dotted key
	line, col int
	excerpt   string
}

func (o origin) problem(key string, f *fault) Problem {
	if o.name != "" {
		key = o.name
	}
	return Problem{File: o.file, Line: o.line, Col: o.col, Key: key, Message: f.message, Hint: f.hint, excerpt: o.excerpt}
}
