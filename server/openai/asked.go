package openai

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"

	"penstock/server/dialect"
	"penstock/server/web"
)

// InputMessages is the conversation that items are: the input of a stored response
// (dialect.Asked.Input), or its output.
func InputMessages(items []json.RawMessage) ([]dialect.Message, error) {
	var in inputItems
	err := in.decode(items)
	return in.messages, err
}

// ListInput is the input of a response as it is listed: each item with the id that it has or is
// given, and a message in its long form.
func ListInput(items []json.RawMessage, run string) []json.RawMessage {
	all := make([]json.RawMessage, 0, len(items))
	for i, raw := range items {
		all = append(all, listedItem(raw, dialect.ItemID(inputID, i, run)))
	}
	return all
}

// inputID is the kind of the ids that input items are given.
const inputID = "in"

// listedItem leaves what is no item, which none is that was decoded, as it is.
func listedItem(raw json.RawMessage, id string) json.RawMessage {
	f, err := web.ParseObject(raw, "item")
	if err != nil {
		return raw
	}
	if own := itemID(f); own != "" {
		id = own
	}
	quoted, err := web.Marshal(id)
	if err != nil {
		return raw
	}
	isMessage := f.Given("role")
	b := append([]byte(`{"id":`), quoted...)
	if isMessage {
		b = append(b, `,"type":"message","status":"completed"`...)
	}
	err = web.Members(raw, func(name, value json.RawMessage) error {
		key, err := web.Unquote(name)
		switch {
		case err != nil:
			return err
		case key == "id", isMessage && (key == "type" || key == "status"):
			return nil
		case isMessage && key == "content" && web.KindOf(value) == '"':
			value = textPart(value, oneOf(f["role"], dialect.Assistant))
		}
		b = append(append(append(b, ','), name...), ':')
		b = append(b, value...)
		return nil
	})
	if err != nil {
		return raw
	}
	return append(b, '}')
}

// itemID is "" of an item without one, or with one that is no string.
func itemID(f web.Fields) (id string) {
	_ = f.Into("id", "", &id, "")
	return id
}

// textPart is a content that is a string in its long form.
func textPart(text json.RawMessage, assistant bool) json.RawMessage {
	kind, more := "input_text", ""
	if assistant {
		kind, more = "output_text", `,"annotations":[]`
	}
	return bytes.Join([][]byte{[]byte(`[{"type":"` + kind + `","text":`), text, []byte(more + `}]`)}, nil)
}

const (
	itemsDefault = 20
	itemsMost    = 100
)

// ItemList is one page of input items.
type ItemList struct {
	Object string            `json:"object"`
	Data   []json.RawMessage `json:"data"`
	First  *string           `json:"first_id"`
	Last   *string           `json:"last_id"`
	More   bool              `json:"has_more"`
}

// InputPage is the page of what ListInput gives that the query of a GET asks for: limit, order
// (the last first where it isn't asc), and after.
func InputPage(listed []json.RawMessage, query url.Values) (ItemList, error) {
	limit := itemsDefault
	if text := query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > itemsMost {
			return ItemList{}, web.BadRequest("limit", "limit must be between 1 and %d", itemsMost)
		}
		limit = n
	}
	all := slices.Clone(listed)
	switch query.Get("order") {
	case "asc":
	case "desc", "":
		slices.Reverse(all)
	default:
		return ItemList{}, web.BadRequest("order", "order must be asc or desc")
	}
	if after := query.Get("after"); after != "" {
		i := slices.IndexFunc(all, func(item json.RawMessage) bool { return listedID(item) == after })
		if i < 0 {
			return ItemList{}, web.BadRequest("after", "after must be the id of one of the items")
		}
		all = all[i+1:]
	}
	list := ItemList{Object: "list", Data: all[:min(limit, len(all))], More: len(all) > limit}
	if n := len(list.Data); n > 0 {
		first, last := listedID(list.Data[0]), listedID(list.Data[n-1])
		list.First, list.Last = &first, &last
	}
	return list, nil
}

func listedID(item json.RawMessage) string {
	f, err := web.ParseObject(item, "item")
	if err != nil {
		return ""
	}
	return itemID(f)
}
