package gemini

import (
	"path"
	"strings"
	"unicode/utf8"

	"penstock/backend"
)

// prompt is what print mode is given. There gemini (0.61.0) reads an @ with a word after it as
// a file to put into the prompt, the first that has the word somewhere in its name, and
// writes the file's name in the word's place; an image gets into the prompt that way alone.
func prompt(r backend.Request) []byte {
	_, documents := r.Documents()
	text := plainAt(string(backend.PromptWithSystem(r)) + documents)
	for i, image := range r.ImageFiles() {
		if i == 0 {
			text += "\n"
		}
		text += "\n@" + escapePath(path.Join(r.Dir, image.Name))
	}
	return []byte(backend.NotACommand(text))
}

// plainAt keeps a text's own @ from being read so. gemini leaves one after a backslash, and
// the backslash, as it is.
func plainAt(text string) string {
	var out strings.Builder
	last := 0
	for i := range len(text) {
		if text[i] == '@' && (i == 0 || text[i-1] != '\\') && beginsPath(text[i+1:]) {
			out.WriteString(text[last:i])
			out.WriteByte('\\')
			last = i
		}
	}
	if last == 0 && out.Len() == 0 {
		return text
	}
	return out.String() + text[last:] + "\n\n(Above, \\@ stands for an @.)"
}

// pathEnds are the characters that a path after an @ ends at, unless a backslash is before
// one; and so does a dot that white space or nothing follows.
const pathEnds = " \t\n\r,;!?()[]{}"

func beginsPath(text string) bool {
	if rest, dot := strings.CutPrefix(text, "."); dot {
		return rest != "" && !strings.ContainsAny(rest[:1], " \t\n\r")
	}
	return text != "" && !strings.ContainsRune(pathEnds, firstRune(text))
}

func firstRune(text string) rune {
	r, _ := utf8.DecodeRuneInString(text)
	return r
}

// escapePath writes a path so that gemini reads it to its end.
func escapePath(name string) string {
	var out strings.Builder
	for _, r := range name {
		if strings.ContainsRune(pathEnds+`\"`, r) {
			out.WriteByte('\\')
		}
		out.WriteRune(r)
	}
	return out.String()
}
