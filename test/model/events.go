package model

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// events writes server-sent events, each flushed at once. After the first write
// error it writes nothing more.
type events struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	err error
}

// named writes an event with an event line.
func (e *events) named(name string, data any) {
	e.write("event: "+name+"\n", data)
}

// data writes an event without one.
func (e *events) data(data any) { e.write("", data) }

// raw writes a data line as it is.
func (e *events) raw(line string) {
	if e.err != nil {
		return
	}
	_, e.err = fmt.Fprintf(e.w, "data: %s\n\n", line)
	e.flush()
}

func (e *events) write(head string, data any) {
	if e.err != nil {
		return
	}
	body, err := json.Marshal(data)
	if err != nil {
		e.err = err
		return
	}
	for half, escape := range map[string]string{highHalf: `\ud83d`, lowHalf: `\ude00`} {
		body = bytes.ReplaceAll(body, []byte(half), []byte(escape))
	}
	_, e.err = fmt.Fprintf(e.w, "%sdata: %s\n\n", head, body)
	e.flush()
}

func (e *events) flush() {
	if e.err == nil {
		e.err = e.rc.Flush()
	}
}
