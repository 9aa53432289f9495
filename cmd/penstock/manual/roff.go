package manual

import "strings"

// roff is a page of the manual as it is written, in the man macros of groff_man(7).
type roff struct{ strings.Builder }

func newPage(name, section, date, source string) *roff {
	r := &roff{}
	r.macro(".TH", strings.ToUpper(name), section, date, source, "Penstock")
	r.line(".nh") // a hyphen at a line's end would not be part of the name
	r.line(".ad l")
	r.line(".ss 12 0") // no wider blank between sentences
	return r
}

// literal is text to be typed as it is, placeholder a word that stands for
// another; both are ready for the page.
func literal(s string) string     { return `\fB` + escaped(s) + `\fR` }
func placeholder(s string) string { return `\fI` + escaped(s) + `\fR` }

// prose is ready for the page, with what stands between backticks as a literal.
func prose(s string) string {
	var out strings.Builder
	for i, part := range strings.Split(s, "`") {
		if i%2 == 1 {
			part = literal(part)
		} else {
			part = escaped(part)
		}
		out.WriteString(part)
	}
	return out.String()
}

func (r *roff) section(name string)    { r.macro(".SH", name) }
func (r *roff) subsection(name string) { r.macro(".SS", name) }

// text writes paragraphs, which blank lines divide. They are ready for the page.
func (r *roff) text(s string) {
	for _, paragraph := range strings.Split(s, "\n\n") {
		r.line(".PP")
		r.lines(paragraph)
	}
}

// item is a term, with what it means beside or below it.
func (r *roff) item(term, meaning string) {
	r.line(".TP")
	r.lines(term)
	r.lines(meaning)
}

// example is shown line by line, as it is.
func (r *roff) example(s string) {
	r.line(".PP")
	r.line(".in +4n")
	r.line(".EX")
	r.lines(escaped(strings.TrimRight(s, "\n")))
	r.line(".EE")
	r.line(".in")
}

func (r *roff) macro(name string, args ...string) {
	for _, arg := range args {
		name += ` "` + escaped(arg) + `"`
	}
	r.line(name)
}

// lines writes text, of which no line is taken for a request.
func (r *roff) lines(s string) {
	for _, line := range strings.Split(s, "\n") {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			line = `\&` + line
		}
		r.line(line)
	}
}

func (r *roff) line(s string) {
	r.WriteString(s)
	r.WriteByte('\n')
}

// escaped keeps ASCII what it is: groff makes hyphens, quotes and accents of some.
func escaped(s string) string {
	return strings.NewReplacer(`\`, `\(rs`, "-", `\-`, `"`, `\(dq`, "~", `\(ti`, "^", `\(ha`, "`", `\(ga`, "'", `\(aq`).Replace(s)
}
