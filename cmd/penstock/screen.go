package main

import (
	"io"
	"os"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mattn/go-runewidth"
	"golang.org/x/term"
)

// plainWidth is how many columns a terminal has that doesn't tell.
const plainWidth = 80

// screen is what can be drawn on a writer.
type screen struct {
	terminal bool
	colour   bool // no-color.org
	unicode  bool // the locale's
	file     *os.File
}

func newScreen(w io.Writer) screen {
	s := screen{terminal: isTerminal(w), unicode: unicodeLocale()}
	s.file, _ = w.(*os.File)
	s.colour = s.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

// unicodeLocale is the codeset by POSIX' order of variables.
func unicodeLocale() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := os.Getenv(name); v != "" {
			v = strings.ToUpper(v)
			return strings.Contains(v, "UTF-8") || strings.Contains(v, "UTF8")
		}
	}
	return false
}

// size is that of the terminal, in columns and lines.
func (s screen) size() (columns, lines int) {
	if s.terminal && s.file != nil {
		if w, h, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return plainWidth, 24
}

// Colours, as ECMA-48 numbers them.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s screen) paint(colour, text string) string {
	if !s.colour || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// bar is used of most in so many columns.
func (s screen) bar(used, most float64, columns int) string {
	full, empty := "#", "."
	if s.unicode {
		full, empty = "█", "░"
	}
	n := min(columns, int(used/most*float64(columns)+0.5))
	if n == 0 && used > 0 {
		n = 1
	}
	return s.paint(heat(used, most), strings.Repeat(full, n)) + s.paint(dim, strings.Repeat(empty, columns-n))
}

func heat(used, most float64) string {
	switch {
	case used >= 0.9*most:
		return red
	case used >= 0.7*most:
		return yellow
	}
	return green
}

// clip cuts a text to so many columns.
func (s screen) clip(text string, columns int) string {
	if width(text) <= columns {
		return text
	}
	mark := "~"
	if s.unicode {
		mark = "…"
	}
	return runewidth.Truncate(text, max(columns, 1), mark)
}

// width is how many columns a text takes.
func width(text string) int { return runewidth.StringWidth(text) }

// harmless takes what would command a terminal out of a text that others wrote.
// keep are control characters that may stay.
func harmless(text, keep string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case strings.ContainsRune(keep, r):
			return r
		case r == utf8.RuneError, unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r):
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// oneLine is a text for one line of a table.
func oneLine(text string) string {
	return harmless(strings.Join(strings.Fields(text), " "), "")
}
