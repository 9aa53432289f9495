package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"penstock/internal/hint"
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

// String is "file:line:col: key: message (hint: remedy)", then the line and its caret.
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
	b.WriteString(hint.Text(p.Message, p.Hint))
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

// origin is where a value was written.
type origin struct {
	file      string // "" is a built-in default
	name      string // environment variable or flag; "" shows the dotted key
	line, col int
	excerpt   string
}

// problem is an error at this place; the hint of a *hint.Error is kept apart.
func (o origin) problem(key string, err error) Problem {
	if o.name != "" {
		key = o.name
	}
	p := Problem{File: o.file, Line: o.line, Col: o.col, Key: key, Message: err.Error(), excerpt: o.excerpt}
	var h *hint.Error
	if errors.As(err, &h) {
		p.Message, p.Hint = h.Message(), h.Hint
	}
	return p
}

// suggest names the candidate nearest to word, or is "" when none is near.
func suggest(word string, candidates []string) string {
	best, found := len(word)/3+2, ""
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(word, c); d < best {
			best, found = d, c
		}
	}
	if found == "" {
		return ""
	}
	return "did you mean " + found + "?"
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
