package backend

import (
	"encoding/json"
	"strings"
)

// toolNames remembers what the tool uses that have no result yet are called.
type toolNames map[string]string

// toolNamesMax bounds how many; a result of a forgotten one is called "tool".
const toolNamesMax = 256

func (t *toolNames) put(id, name string) {
	if *t == nil {
		*t = toolNames{}
	}
	if len(*t) < toolNamesMax {
		(*t)[id] = name
	}
}

func (t *toolNames) take(id string) string {
	name, ok := (*t)[id]
	delete(*t, id)
	if !ok {
		return "tool"
	}
	return name
}

// contentText is the text of a tool's result: a string, or blocks of which the
// text ones count. Bounded by ToolTextMax.
func contentText(raw json.RawMessage) string {
	var blocks []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &blocks) != nil {
		return rawText(raw)
	}
	var text strings.Builder
	for _, b := range blocks {
		text.WriteString(b.Text)
		if text.Len() > ToolTextMax {
			break
		}
	}
	return bound(text.String(), ToolTextMax)
}
