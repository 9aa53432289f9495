// Package jsonrpc is our side of a JSON-RPC 2.0 conversation with a CLI.
package jsonrpc

import (
	"encoding/json"
	"strconv"

	"penstock/backend/parse"
)

func Present(capability json.RawMessage) bool {
	return capability != nil && string(capability) != "null" && string(capability) != "false"
}

// Message is one JSON-RPC 2.0 message of a CLI: a request (ID and Method), a
// notification (Method alone) or an answer (ID alone).
type Message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *Error          `json:"error"`
}

type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// Parse is false for a line that is no JSON-RPC message.
func Parse(line []byte) (Message, bool) {
	var m Message
	if !parse.Decode(line, &m) {
		return m, false
	}
	if string(m.ID) == "null" {
		m.ID = nil
	}
	return m, m.Method != "" || m.ID != nil
}

func (m Message) IsRequest() bool { return m.Method != "" && m.ID != nil }

func (m Message) IsAnswer() bool { return m.Method == "" }

// MethodNotFound is JSON-RPC's code for what the other side doesn't offer.
const MethodNotFound = -32601

// Client is our side of a conversation: it numbers our requests from 0, so
// that the same answers always meet the same questions, and gathers the lines
// to write.
type Client struct {
	Asked   int
	waiting map[string]func(Message)
	lines   [][]byte
}

// Call sends a request; then is called with its answer, which may be an error.
func (c *Client) Call(method string, params any, then func(Message)) {
	id := strconv.Itoa(c.Asked)
	c.Asked++
	c.expect(id, then)
	c.send(map[string]any{"id": json.RawMessage(id), "method": method, "params": params})
}

// Expect says what is to be done with the answer to a request by that name (Ask), whether
// or not it is sent: the replay of a run doesn't know what was attached to its prompt, and
// takes the same way by the answers alone.
func (c *Client) Expect(name string, then func(Message)) { c.expect(strconv.Quote(name), then) }

// Ask sends a request by a name that Expect knows. It takes no number.
func (c *Client) Ask(name, method string, params any) {
	c.send(map[string]any{"id": name, "method": method, "params": params})
}

func (c *Client) expect(id string, then func(Message)) {
	if c.waiting == nil {
		c.waiting = map[string]func(Message){}
	}
	c.waiting[id] = then
}

func (c *Client) Notify(method string) { c.send(map[string]any{"method": method}) }

// Reply answers a request of the CLI.
func (c *Client) Reply(id json.RawMessage, result any) {
	c.send(map[string]any{"id": id, "result": result})
}

// Refuse answers a request of the CLI that is not honoured. Every request gets
// an answer: a CLI that waits for one would wait until the run's deadline.
func (c *Client) Refuse(id json.RawMessage, code int, message string) {
	c.send(map[string]any{"id": id, "error": map[string]any{"code": code, "message": message}})
}

func (c *Client) send(message map[string]any) {
	message["jsonrpc"] = "2.0"
	line, err := json.Marshal(message)
	if err != nil {
		return // only an id that is no JSON, which Parse doesn't let in
	}
	c.lines = append(c.lines, line)
}

// Answered hands an answer to the call that waits for it; any other is dropped.
func (c *Client) Answered(m Message) {
	then, ok := c.waiting[string(m.ID)]
	if !ok {
		return
	}
	delete(c.waiting, string(m.ID))
	then(m)
}

// Take gives the lines to write and forgets them.
func (c *Client) Take() [][]byte {
	lines := c.lines
	c.lines = nil
	return lines
}
