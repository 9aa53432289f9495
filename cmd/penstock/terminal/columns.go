package terminal

import (
	"slices"
	"strings"
)

const (
	barMin, barMax = 4, 12
	noteMin        = 16
	noteKept       = 40 // is not given to bars and long ids
	gap            = 2  // columns between two fields
)

// column is one column of a table on a terminal.
type column struct {
	head  string
	right bool
	least int  // width it may be cut to; 0 is never cut
	most  int  // 0 is as wide as it needs
	drop  int  // the higher, the sooner it goes where there is no room; 0 never goes
	rest  bool // takes what is left over
	cells []cell

	width int
	need  int  // width of the widest cell, up to most
	bars  bool // some cell has one
}

// cell is one field; a bar is drawn where both figures are known.
type cell struct {
	text, short, colour string
	used, most          *float64
}

// fit gives each column its width and returns that of the bars; -1 is none.
// Where room is missing ids are shortened, then bars go, then names are cut,
// then columns go.
func fit(table []*column, room int) ([]*column, int) {
	for _, c := range table {
		c.measure(false)
	}
	kept := 0
	if slices.ContainsFunc(table, func(c *column) bool { return c.rest }) {
		kept = noteKept
	}
	bar := barMin
	if over(table, bar, room) > -kept {
		for _, c := range table {
			c.measure(true)
		}
	}
	if over(table, bar, room) > 0 {
		bar = -1
	}
	for _, c := range table {
		if c.least > 0 {
			c.width -= min(max(0, over(table, bar, room)), max(0, c.width-c.least))
		}
	}
	for over(table, bar, room) > 0 {
		last := slices.MaxFunc(table, func(a, b *column) int { return a.drop - b.drop })
		if last.drop == 0 {
			break
		}
		table = slices.DeleteFunc(slices.Clone(table), func(c *column) bool { return c == last })
	}
	for _, c := range table { // what went may have left more room than was missing
		c.width += min(max(0, -over(table, bar, room)), c.need-c.width)
	}
	for bar > 0 && bar < barMax && over(table, bar+1, room) <= -kept {
		bar++
	}
	for _, c := range table {
		if c.rest {
			c.width = max(0, -over(table, bar, room)+c.width)
		}
	}
	return slices.DeleteFunc(slices.Clone(table), func(c *column) bool { return c.rest && c.width < noteMin }), bar
}

// measure finds the width that the cells need; one that takes the rest needs none.
func (c *column) measure(short bool) {
	if c.rest {
		return
	}
	c.width = width(c.head)
	for i := range c.cells {
		cell := &c.cells[i]
		if short && cell.short != "" {
			cell.text = cell.short
		}
		c.width = max(c.width, width(cell.text))
		c.bars = c.bars || (cell.used != nil && cell.most != nil)
	}
	if c.most > 0 {
		c.width = min(c.width, c.most)
	}
	c.need = c.width
}

// over is how many columns are missing; less than 0 are left over.
func over(table []*column, bar, room int) int {
	n := -gap
	for _, c := range table {
		n += gap + c.width
		if c.bars && bar > 0 {
			n += bar + 1
		}
	}
	return n - room
}

// lines draws the table.
func (s Terminal) lines(table []*column, bar int) string {
	var b strings.Builder
	for i := -1; i < len(table[0].cells); i++ {
		var line []string
		for _, c := range table {
			line = append(line, s.field(c, i, bar))
		}
		b.WriteString(strings.TrimRight(strings.Join(line, strings.Repeat(" ", gap)), " ") + "\n")
	}
	return b.String()
}

// field is the i'th cell of a column, and for -1 its head.
func (s Terminal) field(c *column, i, bar int) string {
	one := cell{text: c.head, colour: Bold}
	if i >= 0 {
		one = c.cells[i]
	}
	text := s.Clip(one.text, c.width)
	room := strings.Repeat(" ", c.width-width(text))
	text = s.Paint(one.colour, text)
	if c.right {
		text = room + text
	} else {
		text += room
	}
	switch {
	case !c.bars || bar <= 0:
		return text
	case i < 0:
		return text + strings.Repeat(" ", bar+1)
	case one.used == nil || one.most == nil:
		return strings.Repeat(" ", bar+1) + text
	}
	return s.bar(*one.used, *one.most, bar) + " " + text
}
