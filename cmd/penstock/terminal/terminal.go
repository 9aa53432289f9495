// Package terminal is what the subcommands for people write: on a terminal with
// colours, bars and lines that are drawn anew, elsewhere as plain text.
//
//	Terminal    size, colours, full screen, keys       terminal.go
//	Sanitize    no text of others commands a terminal  terminal.go
//	Printer     an answer and lines beside it          printer.go   run, logs
//	Rows        a run as a row: what it uses of what   rows.go      ps
//	 |- PlainTable   fixed columns                     table.go     ps
//	 `- Table        bars, cut to the width            columns.go   ps --watch
//	Ending, Living, Queued   a run in one line         runtext.go    run, logs, cancel
//	Age                      numbers                   format.go
package terminal

import (
	"fmt"
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

// Terminal is what can be drawn on a writer.
type Terminal struct {
	terminal bool
	colour   bool // no-color.org
	unicode  bool // the locale's
	file     *os.File
}

// New finds out what w is.
func New(w io.Writer) Terminal {
	s := Terminal{terminal: Is(w), unicode: unicodeLocale()}
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

// Is tells whether a writer is a terminal.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// IsTerminal tells whether the writer is one.
func (s Terminal) IsTerminal() bool { return s.terminal }

// Size is that of the terminal, in columns and lines.
func (s Terminal) Size() (columns, lines int) {
	if s.terminal && s.file != nil {
		if w, h, err := term.GetSize(int(s.file.Fd())); err == nil && w > 0 && h > 0 {
			return w, h
		}
	}
	return plainWidth, 24
}

// Colours, as ECMA-48 numbers them.
const (
	Bold   = "1"
	Dim    = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
)

// Paint is the text in a colour, where there are any.
func (s Terminal) Paint(colour, text string) string {
	if !s.colour || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// bar is used of most in so many columns.
func (s Terminal) bar(used, most float64, columns int) string {
	full, empty := "#", "."
	if s.unicode {
		full, empty = "█", "░"
	}
	n := min(columns, int(used/most*float64(columns)+0.5))
	if n == 0 && used > 0 {
		n = 1
	}
	return s.Paint(heat(used, most), strings.Repeat(full, n)) + s.Paint(Dim, strings.Repeat(empty, columns-n))
}

func heat(used, most float64) string {
	switch {
	case used >= 0.9*most:
		return Red
	case used >= 0.7*most:
		return Yellow
	}
	return Green
}

// Clip cuts a text to so many columns.
func (s Terminal) Clip(text string, columns int) string {
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

// Sanitize takes what would command a terminal out of a text that others wrote.
// keep are control characters that may stay.
func Sanitize(text, keep string) string {
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

// OneLine is a text for one line of a table.
func OneLine(text string) string {
	return Sanitize(strings.Join(strings.Fields(text), " "), "")
}

// What a terminal is told (xterm's control sequences): 1049 keeps its own screen
// aside, 25 hides its cursor.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l"
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	home        = "\x1b[H"
	clearLine   = "\x1b[K"
	clearBelow  = "\x1b[J"
)

// EnterScreen takes the whole terminal until leave is called.
func EnterScreen(w io.Writer) (leave func() error, err error) {
	if _, err := io.WriteString(w, enterScreen); err != nil {
		return nil, err
	}
	return func() error {
		_, err := io.WriteString(w, leaveScreen)
		return err
	}, nil
}

// DrawScreen puts a text in place of what the screen shows.
func DrawScreen(w io.Writer, text string) error {
	text = strings.TrimSuffix(text, "\n")
	_, err := io.WriteString(w, home+strings.ReplaceAll(text, "\n", clearLine+"\r\n")+clearLine+clearBelow)
	return err
}

// Keys gives the keys that are pressed, if a terminal is read from; restore gives
// it its lines back.
func Keys(stdin io.Reader) (keys <-chan byte, restore func(), err error) {
	f, ok := stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return nil, func() {}, nil
	}
	old, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, nil, fmt.Errorf("terminal: %w", err)
	}
	pressed := make(chan byte)
	// It ends with the program: a read of a terminal can't be called off.
	go func() {
		var key [1]byte
		for {
			if n, err := f.Read(key[:]); err != nil || n == 0 {
				return
			}
			pressed <- key[0]
		}
	}()
	return pressed, func() { _ = term.Restore(int(f.Fd()), old) }, nil
}
