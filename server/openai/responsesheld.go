package openai

import (
	"errors"
	"io"

	"penstock/backend"
	"penstock/server/dialect"
)

// heldMax bounds what a stream holds of what it has told, in bytes of JSON.
const heldMax = 128 << 10

// heldAnswer is what a stream has told of its answer, to be told again: a text with the end of
// its item, and all items with the response's. What is more than may be held is read again.
type heldAnswer struct {
	again dialect.Steps

	items [][]byte // those that have ended, by their index
	size  int      // of items
	over  bool     // there are more: none is held

	text        []byte // of the item that is open, inside of its quotes
	long        bool   // it is longer: nothing of it is held
	kind        backend.Kind
	first, last uint64 // the events that it is from

	// Each of the events that have the whole text has a reading of its own, which goes on where
	// it was left: so all of them together go through an answer once each.
	readings [textTellings]dialect.Reading
}

// textTellings are the events that have a whole text: the ends of the text, its part and its item.
const textTellings = 3

func (h *heldAnswer) begin(s dialect.Step) {
	h.text, h.long, h.kind, h.first = h.text[:0], false, s.Kind, s.First
	if cap(h.text) > heldMax/32 {
		h.text = nil // most texts are short
	}
}

// add takes more of the text that is open, as a JSON string.
func (h *heldAnswer) add(quoted []byte, last uint64) {
	h.last = last
	if h.long {
		return
	}
	inside := quoted[1 : len(quoted)-1]
	size := len(h.text) + len(inside)
	if size+h.size > heldMax {
		h.drop()
	}
	if size > heldMax {
		h.text, h.long = nil, true
		return
	}
	h.text = append(h.text, inside...)
}

func (h *heldAnswer) drop() { h.items, h.size, h.over = nil, 0, true }

// put takes an item that has ended.
func (h *heldAnswer) put(index int, item []byte) {
	if h.over {
		return
	}
	if h.size += len(item); h.size > heldMax {
		h.drop()
		return
	}
	for len(h.items) <= index {
		h.items = append(h.items, nil)
	}
	h.items[index] = item
}

// writeText writes the text that is open, or was last, as a JSON string, for one of its events.
func (h *heldAnswer) writeText(w io.Writer, telling int) error {
	if !h.long {
		for _, part := range [][]byte{{'"'}, h.text, {'"'}} {
			if _, err := w.Write(part); err != nil {
				return err
			}
		}
		return nil
	}
	if h.readings[telling] == nil {
		h.readings[telling] = h.again()
	}
	if _, err := io.WriteString(w, `"`); err != nil {
		return err
	}
	text := dialect.NewJSONText(w)
	for {
		s, ok, err := h.readings[telling].Next()
		switch {
		case err != nil:
			return err
		case !ok:
			return errShort
		case s.Seq < h.first, s.Kind != h.kind:
			continue
		}
		if err := text.Add(s.Text); err != nil {
			return err
		}
		if s.Seq >= h.last {
			break
		}
	}
	if err := text.End(); err != nil {
		return err
	}
	_, err := io.WriteString(w, `"`)
	return err
}

// errShort is of an answer that is not the one that was told before.
var errShort = errors.New("the answer ends earlier than it did before")

// writeItems writes all items, where they are held.
func (h *heldAnswer) writeItems(w io.Writer) error {
	for i, item := range h.items {
		if i > 0 {
			if _, err := io.WriteString(w, ","); err != nil {
				return err
			}
		}
		if _, err := w.Write(item); err != nil {
			return err
		}
	}
	return nil
}
