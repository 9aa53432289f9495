package media

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"penstock/backend"
	"penstock/internal/bytesize"
	"penstock/server/web"
)

// What one request may bring. docs/api.md has these figures, and a test holds it to them.
const (
	CountMax = 20       // images and files
	EachMax  = 6 << 20  // bytes of one, decoded; of a fetched one attachments.fetch_max
	TotalMax = 16 << 20 // bytes of all, decoded; in a body there is room for less

	SideMax        = 8000        // pixels of an image's width, and of its height
	PixelsMax      = 40_000_000  // of one image
	PixelsTotalMax = 160_000_000 // of all images

	urlMax = 4 << 10 // bytes
)

// Kind is what a source is to be.
type Kind int

const (
	Image Kind = iota // one that can be seen: a data URI, base64 or a URL
	File              // one that can be read, in the same forms; a picture becomes an image
	Text              // a file that is text, and given as it is
)

// Source is an image or a file as a request has it.
type Source struct {
	Kind  Kind
	Where string // the field, for what is told of it: messages[2].content[1].image_url.url
	Name  string // of a file, in the client's words; "" is none
	Type  string // the media type that the client claims; "" is none
	// Data is the field's value, a JSON string and part of the body: nothing is copied, or looked
	// at, before Decode.
	Data json.RawMessage
}

// Batch is the images and files of one turn, in order.
type Batch struct {
	parts  []part
	size   int64 // bytes
	pixels int64
}

type part struct {
	Source
	url        *url.URL // what is still to be fetched; nil is nothing
	attachment backend.Attachment
}

// Decode decodes what the sources have with them, and notes what is to be fetched. The result
// holds nothing of the body.
func Decode(sources []Source) (*Batch, error) {
	if len(sources) > CountMax {
		return nil, web.BadRequest(sources[CountMax].Where, "more than %d images and files in one turn: send fewer, or put them together", CountMax)
	}
	b := &Batch{parts: make([]part, len(sources))}
	for i, s := range sources {
		b.parts[i] = part{Source: s}
		if err := b.decode(&b.parts[i]); err != nil {
			return nil, err
		}
		b.parts[i].Data = nil
	}
	return b, nil
}

// decode tells by what a text begins with in which form it is; ':' is in no base64.
func (b *Batch) decode(p *part) error {
	text, err := unquote(p.Data)
	if err != nil {
		return web.BadRequest(p.Where, "%s must be a string", p.Where)
	}
	if p.Kind == Text {
		return b.add(p, bytes.Clone(text), EachMax)
	}
	text = bytes.TrimSpace(text)
	switch scheme := schemeOf(text); scheme {
	case "":
		data, err := decodeBase64(text, false, b.room(EachMax))
		if err != nil {
			return b.unreadable(p, err, "send a data URI (data:image/png;base64,...) or base64")
		}
		return b.add(p, data, EachMax)
	case "data":
		return b.decodeURI(p, text)
	case "http", "https":
		p.url, err = parseURL(p.Where, string(text))
		return err
	default:
		return web.BadRequest(p.Where, "%q is no scheme that is taken: send a data URI (data:image/png;base64,...)", web.Clip(scheme, 20)+":")
	}
}

func (b *Batch) decodeURI(p *part, text []byte) error {
	u, err := parseDataURI(text)
	if err != nil {
		return web.BadRequest(p.Where, "%v: write data:image/png;base64,...", err)
	}
	if p.Type == "" {
		p.Type = u.mediaType
	}
	if p.Name == "" {
		p.Name = u.name
	}
	data, err := u.decode(b.room(EachMax))
	if err != nil {
		return b.unreadable(p, err, "encode the bytes again")
	}
	if p.Kind == Image && !u.base64 && pictureType(data) == "" {
		return web.BadRequest(p.Where, "the data URI has no ;base64 before its comma, and what it has is no image: write data:image/png;base64,...")
	}
	return b.add(p, data, EachMax)
}

// parseURL takes an http or https URL.
func parseURL(where, text string) (*url.URL, error) {
	if len(text) > urlMax {
		return nil, web.BadRequest(where, "the URL is over %d bytes: send a shorter one, or a data URI (data:image/png;base64,...)", urlMax)
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return nil, web.BadRequest(where, "not a URL: write https://host/path, or a data URI (data:image/png;base64,...)")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// room is for the next one, of at most each bytes.
func (b *Batch) room(each int64) int64 { return min(each, TotalMax-b.size) }

// tooLarge is of one that needs more room than there is.
func (b *Batch) tooLarge(p *part, each int64) error {
	if b.room(each) < each {
		return web.BadRequest(p.Where, "images and files of one turn are at most %s together: send fewer, or smaller ones", bytesize.Human(TotalMax))
	}
	return web.BadRequest(p.Where, "over %s: send a smaller one", bytesize.Human(each))
}

func (b *Batch) unreadable(p *part, err error, remedy string) error {
	if errors.Is(err, errTooLarge) {
		return b.tooLarge(p, EachMax)
	}
	return web.BadRequest(p.Where, "%v: %s", err, remedy)
}

// add gives a part its bytes and their type, where they are what they may be.
func (b *Batch) add(p *part, data []byte, each int64) error {
	if len(data) == 0 {
		return web.BadRequest(p.Where, "it is empty: leave it out, or send its bytes")
	}
	if int64(len(data)) > b.room(each) {
		return b.tooLarge(p, each)
	}
	kind := pictureType(data)
	var err error
	switch {
	case p.Kind == Text:
		kind = textType(p.Type)
	case kind != "":
		err = b.measure(p, kind, data)
	case p.Kind == Image:
		err = notTaken(p.Where, data)
	default:
		kind, err = fileType(p.Where, p.Type, data)
	}
	if err != nil {
		return err
	}
	b.size += int64(len(data))
	p.attachment = backend.Attachment{Type: kind, Data: data}
	return nil
}

// measure holds an image to its bounds: of a header of some bytes a decoder may make gigabytes.
func (b *Batch) measure(p *part, kind string, data []byte) error {
	width, height, ok := pictureSize(kind, data)
	pixels := width * height
	switch {
	case !ok:
		return web.BadRequest(p.Where, "the %s ends before it says how large it is: it was cut off, or is damaged", formatName(kind))
	case pixels == 0:
		return web.BadRequest(p.Where, "the %s has no pixels (%d by %d): send another image", formatName(kind), width, height)
	case width > SideMax || height > SideMax || pixels > PixelsMax:
		return web.BadRequest(p.Where, "the %s is %d by %d pixels: scale it down to at most %d a side and %d million", formatName(kind), width, height, SideMax, PixelsMax/1_000_000)
	case b.pixels+pixels > PixelsTotalMax:
		return web.BadRequest(p.Where, "the images of one turn are over %d million pixels together: send fewer, or scale them down", PixelsTotalMax/1_000_000)
	}
	b.pixels += pixels
	return nil
}

// attachments are all of them, named.
func (b *Batch) attachments() []backend.Attachment {
	all := make([]backend.Attachment, len(b.parts))
	taken := map[string]bool{}
	for i, p := range b.parts {
		all[i] = p.attachment
		all[i].Name = uniqueName(fileName(p.Name, p.attachment, i+1), taken)
	}
	return all
}

// unquote is the inside of a JSON string, and a part of it where nothing is escaped.
func unquote(raw json.RawMessage) ([]byte, error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) >= 2 && raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil || text == nil {
		return nil, errNoString
	}
	return []byte(*text), nil
}

// schemeOf is the scheme of a URI in lower case, "" of a text that is none.
func schemeOf(text []byte) string {
	const longest = 40
	scheme, _, ok := strings.Cut(strings.ToLower(string(text[:min(len(text), longest)])), ":")
	if !ok || strings.Trim(scheme, "abcdefghijklmnopqrstuvwxyz0123456789+.-") != "" {
		return ""
	}
	return scheme
}
