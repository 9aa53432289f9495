package dialect

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"

	"penstock/server/web"
)

// Fingerprint is what makes two requests the same: everything but how the
// answer is to be delivered. Key order and spacing don't count.
func (q *Request) Fingerprint() (Fingerprint, error) {
	var keys []string
	for key := range q.Fields {
		if key != "stream" && key != "stream_options" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	hash := sha256.New()
	c := canonical{bufio.NewWriterSize(hash, textPiece)}
	c.text(q.Session)
	c.raw("\n")
	for _, key := range keys {
		c.raw("[")
		c.text(key)
		c.raw(",")
		if err := c.value(q.Fields[key]); err != nil {
			return Fingerprint{}, web.BadRequest(key, "not valid JSON: %v", err)
		}
		c.raw("]\n")
	}
	_ = c.out.Flush() // a hash takes all
	return Fingerprint(hash.Sum(nil)), nil
}

// canonical hashes the one form of JSON values that encoding/json gives: members
// in order, numbers with the digits they came with. It never holds more of it
// than a piece of a string.
type canonical struct{ out *bufio.Writer }

func (c *canonical) raw(text string) { _, _ = c.out.WriteString(text) }

// value takes valid JSON.
func (c *canonical) value(raw json.RawMessage) error {
	switch web.KindOf(raw) {
	case '{':
		return c.object(raw)
	case '[':
		before := "["
		if err := web.Members(raw, func(_, one json.RawMessage) error {
			c.raw(before)
			before = ","
			return c.value(one)
		}); err != nil {
			return err
		}
		if before == "[" {
			c.raw("[")
		}
		c.raw("]")
		return nil
	case '"':
		text, err := web.Unquote(raw)
		c.text(text)
		return err
	}
	_, _ = c.out.Write(bytes.TrimSpace(raw))
	return nil
}

// object has each key once, the last of several.
func (c *canonical) object(raw json.RawMessage) error {
	type member struct {
		key   string
		value json.RawMessage
	}
	var all []member
	if err := web.Members(raw, func(name, value json.RawMessage) error {
		key, err := web.Unquote(name)
		all = append(all, member{key, value})
		return err
	}); err != nil {
		return err
	}
	slices.SortStableFunc(all, func(a, b member) int { return strings.Compare(a.key, b.key) })
	c.raw("{")
	before := ""
	for i, one := range all {
		if i+1 < len(all) && all[i+1].key == one.key {
			continue
		}
		c.raw(before)
		before = ","
		c.text(one.key)
		c.raw(":")
		if err := c.value(one.value); err != nil {
			return err
		}
	}
	c.raw("}")
	return nil
}

// text is a string as encoding/json writes it, piece by piece: its escapes stand
// for single code points.
func (c *canonical) text(text string) {
	c.raw(`"`)
	if !strings.ContainsFunc(text, escaped) {
		c.raw(text)
		text = ""
	}
	for len(text) > 0 {
		n := len(text)
		if n > textPiece {
			n = wholeRunes([]byte(text[:textPiece]))
		}
		piece, _ := json.Marshal(text[:n]) // a string can always be written
		_, _ = c.out.Write(piece[1 : len(piece)-1])
		text = text[n:]
	}
	c.raw(`"`)
}

// escaped are the code points that encoding/json may not write as they are.
func escaped(r rune) bool {
	return r < 0x20 || r >= 0x7f || strings.ContainsRune(`"\<>&`, r)
}

type Fingerprint = [sha256.Size]byte
