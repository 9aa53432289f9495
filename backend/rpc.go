package backend

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// rpcMessage is one JSON-RPC 2.0 message of a CLI: a request (ID and Method), a
// notification (Method alone) or an answer (ID alone).
type rpcMessage struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *rpcError       `json:"error"`
}

type rpcError struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

// parseRPC is false for a line that is no JSON-RPC message.
func parseRPC(line []byte) (rpcMessage, bool) {
	var m rpcMessage
	if !decode(line, &m) {
		return m, false
	}
	if string(m.ID) == "null" {
		m.ID = nil
	}
	return m, m.Method != "" || m.ID != nil
}

func blank(line []byte) bool { return len(bytes.TrimSpace(line)) == 0 }

func (m rpcMessage) isRequest() bool { return m.Method != "" && m.ID != nil }
func (m rpcMessage) isAnswer() bool  { return m.Method == "" }

// rpcMethodNotFound is JSON-RPC's code for what the other side doesn't offer.
const rpcMethodNotFound = -32601

// rpcClient is our side of a conversation: it numbers our requests from 0, so
// that the same answers always meet the same questions, and gathers the lines
// to write.
type rpcClient struct {
	asked   int
	waiting map[string]func(rpcMessage)
	lines   [][]byte
}

// call sends a request; then is called with its answer, which may be an error.
func (c *rpcClient) call(method string, params any, then func(rpcMessage)) {
	if c.waiting == nil {
		c.waiting = map[string]func(rpcMessage){}
	}
	id := strconv.Itoa(c.asked)
	c.asked++
	c.waiting[id] = then
	c.send(map[string]any{"id": json.RawMessage(id), "method": method, "params": params})
}

func (c *rpcClient) notify(method string) { c.send(map[string]any{"method": method}) }

// reply answers a request of the CLI.
func (c *rpcClient) reply(id json.RawMessage, result any) {
	c.send(map[string]any{"id": id, "result": result})
}

// refuse answers a request of the CLI that is not honoured. Every request gets
// an answer: a CLI that waits for one would wait until the run's deadline.
func (c *rpcClient) refuse(id json.RawMessage, code int, message string) {
	c.send(map[string]any{"id": id, "error": map[string]any{"code": code, "message": message}})
}

func (c *rpcClient) send(message map[string]any) {
	message["jsonrpc"] = "2.0"
	line, err := json.Marshal(message)
	if err != nil {
		return // only an id that is no JSON, which parseRPC doesn't let in
	}
	c.lines = append(c.lines, line)
}

// answered hands an answer to whoever asked; one that nobody asked for is dropped.
func (c *rpcClient) answered(m rpcMessage) {
	then, ok := c.waiting[string(m.ID)]
	if !ok {
		return
	}
	delete(c.waiting, string(m.ID))
	then(m)
}

// take gives the lines to write and forgets them.
func (c *rpcClient) take() [][]byte {
	lines := c.lines
	c.lines = nil
	return lines
}
