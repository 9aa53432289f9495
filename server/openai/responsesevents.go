package openai

import (
	"bytes"
	"encoding/json"
	"fmt"

	"penstock/backend"
	"penstock/server/dialect"
	"penstock/server/web"
)

// messageItem is a text of the answer as an output item.
type messageItem struct {
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	Role    string        `json:"role"`
	Content []contentPart `json:"content"`
	Status  string        `json:"status"`
}

type contentPart struct {
	Type        string     `json:"type"`
	Text        string     `json:"text"`
	Annotations []struct{} `json:"annotations"`
	Logprobs    []struct{} `json:"logprobs"`
}

// reasoningItem is some thinking as an output item.
type reasoningItem struct {
	ID      string        `json:"id"`
	Type    string        `json:"type"`
	Summary []summaryPart `json:"summary"`
	Status  string        `json:"status"`
}

type summaryPart struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// callItem is a call of a tool of the CLI's own: one that the server's side has executed.
type callItem struct {
	ID          string  `json:"id"`
	Type        string  `json:"type"`
	ServerLabel string  `json:"server_label"`
	Name        string  `json:"name"`
	Arguments   string  `json:"arguments"`
	Output      *string `json:"output"`
	Error       *string `json:"error"`
	Approval    *string `json:"approval_request_id"`
	Status      string  `json:"status"`
}

func newCallItem(a *dialect.Answer, c *call) callItem {
	item := callItem{ID: dialect.ItemID(callItemID, c.index, a.Run), Type: "mcp_call", ServerLabel: a.Backend, Name: c.Name, Status: InProgress}
	return item
}

// ended is the item when no more is known of the call.
func (i callItem) ended(c *call) callItem {
	i.Status, i.Arguments = c.Status, callArguments(c.Input)
	switch c.Status {
	case toolCompleted:
		i.Output = &c.Output
	case toolFailed:
		i.Error = &c.Output
	}
	return i
}

// callArguments is always a JSON object, as clients expect: what a CLI calls a tool with may be a text, or cut.
func callArguments(input string) string {
	switch raw := json.RawMessage(input); {
	case input == "":
		return "{}"
	case web.KindOf(raw) == '{' && json.Valid(raw):
		return input
	}
	text, err := web.Marshal(map[string]string{"input": input})
	if err != nil {
		return "{}"
	}
	return string(text)
}

// responseEvent is an event that has a response.
type responseEvent struct {
	Type     string    `json:"type"`
	Response *Response `json:"response"`
}

// itemEvent is an event of an output item, or of a part of it.
type itemEvent struct {
	Type         string      `json:"type"`
	ItemID       string      `json:"item_id,omitempty"`
	OutputIndex  int         `json:"output_index"`
	ContentIndex *int        `json:"content_index,omitempty"`
	SummaryIndex *int        `json:"summary_index,omitempty"`
	Item         any         `json:"item,omitempty"`
	Part         any         `json:"part,omitempty"`
	Delta        *string     `json:"delta,omitempty"`
	Text         *string     `json:"text,omitempty"`
	Arguments    *string     `json:"arguments,omitempty"`
	Logprobs     *[]struct{} `json:"logprobs,omitempty"`
}

// The types of events.
const (
	eventCreated     = "response.created"
	eventQueued      = "response.queued"
	eventInProgress  = "response.in_progress"
	eventCompleted   = "response.completed"
	eventIncomplete  = "response.incomplete"
	eventFailed      = "response.failed"
	eventError       = "error"
	eventItemAdded   = "response.output_item.added"
	eventItemDone    = "response.output_item.done"
	eventCall        = "response.mcp_call."
	eventCallInput   = "response.mcp_call_arguments.delta"
	eventCallInputed = "response.mcp_call_arguments.done"
)

// textEvents are the types of a text's events.
type textEvents struct{ partAdded, delta, done, partDone string }

// textItem is a text that is one output item, and what is written of it.
type textItem struct {
	kind  backend.Kind
	index int
	id    string
}

func newTextItem(a *dialect.Answer, kind backend.Kind, index int) textItem {
	prefix := messageID
	if kind == backend.Reasoning {
		prefix = reasoningID
	}
	return textItem{kind: kind, index: index, id: dialect.ItemID(prefix, index, a.Run)}
}

func (t textItem) events() textEvents {
	if t.kind == backend.Reasoning {
		return textEvents{
			"response.reasoning_summary_part.added", "response.reasoning_summary_text.delta",
			"response.reasoning_summary_text.done", "response.reasoning_summary_part.done",
		}
	}
	return textEvents{"response.content_part.added", "response.output_text.delta", "response.output_text.done", "response.content_part.done"}
}

// item is the output item with a text; nil is that it has no part yet.
func (t textItem) item(text *string, status string) any {
	if t.kind == backend.Reasoning {
		item := reasoningItem{ID: t.id, Type: "reasoning", Summary: []summaryPart{}, Status: status}
		if text != nil {
			item.Summary = []summaryPart{{Type: "summary_text", Text: *text}}
		}
		return item
	}
	item := messageItem{ID: t.id, Type: "message", Role: dialect.Assistant, Content: []contentPart{}, Status: status}
	if text != nil {
		item.Content = []contentPart{newContentPart(*text)}
	}
	return item
}

func newContentPart(text string) contentPart {
	return contentPart{Type: "output_text", Text: text, Annotations: []struct{}{}, Logprobs: []struct{}{}}
}

func (t textItem) part(text string) any {
	if t.kind == backend.Reasoning {
		return summaryPart{Type: "summary_text", Text: text}
	}
	return newContentPart(text)
}

// event is one of the item's events, but for what it tells.
func (t textItem) event(kind string) itemEvent {
	first := 0 // its only part
	e := itemEvent{Type: kind, ItemID: t.id, OutputIndex: t.index}
	if t.kind == backend.Reasoning {
		e.SummaryIndex = &first
	} else {
		e.ContentIndex = &first
	}
	return e
}

// textEvent is an event of the text itself.
func (t textItem) textEvent(kind string) itemEvent {
	e := t.event(kind)
	if t.kind == backend.Text {
		e.Logprobs = &[]struct{}{}
	}
	return e
}

// around is the JSON of a value that has frameText somewhere as a whole string, before and
// behind that.
func around(v any) (head, tail []byte, err error) {
	whole, err := web.Marshal(v)
	if err != nil {
		return nil, nil, err
	}
	quoted, err := web.Marshal(frameText)
	if err != nil {
		return nil, nil, err
	}
	head, tail, ok := bytes.Cut(whole, quoted)
	if !ok {
		return nil, nil, fmt.Errorf("%s: no text to be cut out", whole)
	}
	return head, tail, nil
}
