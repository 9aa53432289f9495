package media

import (
	"bytes"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"penstock/backend"
	"penstock/server/web"
)

const (
	typePDF    = "application/pdf"
	typeText   = "text/plain"
	typeBinary = "application/octet-stream"
)

var mediaTypePattern = regexp.MustCompile(`^[a-z0-9!#$&^_.+-]{1,60}/[a-z0-9!#$&^_.+-]{1,60}$`)

// claimedType is a media type without its parameters, "" of what is none.
func claimedType(claimed string) string {
	claimed, _, _ = strings.Cut(claimed, ";")
	if claimed = strings.ToLower(strings.TrimSpace(claimed)); mediaTypePattern.MatchString(claimed) {
		return claimed
	}
	return ""
}

// textType is the type of a file that is given as text.
func textType(claimed string) string {
	if claimed = claimedType(claimed); strings.HasPrefix(claimed, "text/") || claimed == "application/json" || claimed == "application/xml" {
		return claimed
	}
	return typeText
}

// fileType is the type of a file that is no picture: what the client claims, if the bytes can be
// it; image/... is none, for whatever is called so is handed to a model's eyes.
func fileType(where, claimed string, data []byte) (string, error) {
	const looked = 1 << 10 // readers of PDF look for its mark there
	claimed = claimedType(claimed)
	switch {
	case claimed == typePDF && !bytes.Contains(data[:min(len(data), looked)], []byte("%PDF-")):
		return "", web.BadRequest(where, "it is said to be PDF and isn't: send the PDF's own bytes, or the type that these have")
	case bytes.HasPrefix(data, []byte("%PDF-")):
		return typePDF, nil
	case claimed != "" && claimed != typeBinary && !strings.HasPrefix(claimed, "image/"):
		return claimed, nil
	case utf8.Valid(data) && bytes.IndexByte(data, 0) < 0:
		return typeText, nil
	}
	return typeBinary, nil
}

// extensions of file names by type; the first is the one that a name without any gets.
func extensions(mediaType string) []string {
	switch mediaType {
	case typePNG:
		return []string{".png"}
	case typeJPEG:
		return []string{".jpg", ".jpeg"}
	case typeGIF:
		return []string{".gif"}
	case typeWebP:
		return []string{".webp"}
	case typePDF:
		return []string{".pdf"}
	case typeText:
		return []string{".txt"}
	case "text/markdown":
		return []string{".md"}
	case "text/csv":
		return []string{".csv"}
	case "text/html":
		return []string{".html"}
	case "application/json":
		return []string{".json"}
	case "application/xml", "text/xml":
		return []string{".xml"}
	}
	return []string{".bin"}
}

const nameMax = 120 // bytes; what makes it unique comes on top

// fileName is a client's name for a file as one that is safe on disk, in a prompt and in what an
// agent may give to a shell: of its last element the letters and digits of any script, blanks and
// some marks. number is the attachment's place in the turn, from 1.
func fileName(given string, a backend.Attachment, number int) string {
	given = given[strings.LastIndexAny(given, `/\`)+1:]
	name := strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			return -1 // line breaks, and what changes the direction of text
		case unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.So), strings.ContainsRune("._-+=,@()", r):
			return r
		case unicode.Is(unicode.Zs, r):
			return ' '
		}
		return '_'
	}, given)
	name = strings.TrimRight(strings.TrimLeft(name, ".-=+@ "), ". ")
	if name == "" {
		kind := "file"
		if a.IsImage() {
			kind = "image"
		}
		return fmt.Sprintf("%s-%d%s", kind, number, extensions(a.Type)[0])
	}
	stem, ext := cutExtension(name)
	if right := extensions(a.Type); isByExtension(a.Type) && !slices.Contains(right, strings.ToLower(ext)) {
		if !slices.Contains([]string{".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf", ".bin"}, strings.ToLower(ext)) {
			stem += ext // of another name than a type's
		}
		ext = right[0]
	}
	for len(stem) > nameMax-len(ext) {
		_, last := utf8.DecodeLastRuneInString(stem)
		stem = stem[:len(stem)-last]
	}
	return strings.TrimRight(stem, ". ") + ext
}

// isByExtension is of the types whose readers go by the extension of a file's name.
func isByExtension(mediaType string) bool {
	return mediaType == typePDF || formatName(mediaType) != ""
}

// cutExtension cuts a short extension off.
func cutExtension(name string) (stem, ext string) {
	const longest = 12
	if ext = path.Ext(name); len(ext) > longest {
		return name, ""
	}
	return strings.TrimSuffix(name, ext), ext
}

// uniqueName gives a name a number where it is taken, whatever its case.
func uniqueName(name string, taken map[string]bool) string {
	stem, ext := cutExtension(name)
	for n := 2; taken[strings.ToLower(name)]; n++ {
		name = fmt.Sprintf("%s-%d%s", stem, n, ext)
	}
	taken[strings.ToLower(name)] = true
	return name
}
