package model

// stream begins a streamed response.
func (responses) stream(out *events, c conversation) wire {
	w := &responsesWire{out: out, id: newID("resp_"), model: c.model, output: []any{}}
	w.event("response.created", map[string]any{"response": response(w.id, w.model, "in_progress", []any{})})
	return w
}

// responsesWire keeps one output item open at a time.
type responsesWire struct {
	out    *events
	id     string
	model  string
	seq    int
	kind   string // type of the open item, "" for none
	itemID string
	sofar  string // text of the open item
	output []any  // items done
}

func (w *responsesWire) event(kind string, fields map[string]any) {
	fields["type"] = kind
	fields["sequence_number"] = w.seq
	w.seq++
	w.out.named(kind, fields)
}

// part writes an event about the one part of the open item.
func (w *responsesWire) part(kind, index string, fields map[string]any) {
	fields["item_id"] = w.itemID
	fields["output_index"] = len(w.output)
	fields[index] = 0
	w.event(kind, fields)
}

func (w *responsesWire) added(item map[string]any) {
	w.event("response.output_item.added", map[string]any{"output_index": len(w.output), "item": item})
}

func (w *responsesWire) done(item map[string]any) {
	w.event("response.output_item.done", map[string]any{"output_index": len(w.output), "item": item})
	w.output = append(w.output, item)
}

func (w *responsesWire) think(delta string) {
	if w.kind != "reasoning" {
		w.end()
		w.kind, w.itemID = "reasoning", newID("rs_")
		w.added(map[string]any{"id": w.itemID, "type": "reasoning", "summary": []any{}})
		w.part("response.reasoning_summary_part.added", "summary_index", map[string]any{"part": summaryText("")})
	}
	w.sofar += delta
	w.part("response.reasoning_summary_text.delta", "summary_index", map[string]any{"delta": delta})
}

func (w *responsesWire) text(delta string) {
	if w.kind != "message" {
		w.end()
		w.kind, w.itemID = "message", newID("msg_")
		w.added(map[string]any{"id": w.itemID, "type": "message", "role": "assistant",
			"status": "in_progress", "content": []any{}})
		w.part("response.content_part.added", "content_index", map[string]any{"part": outputText("")})
	}
	w.sofar += delta
	w.part("response.output_text.delta", "content_index", map[string]any{"delta": delta})
}

func (w *responsesWire) call(name, args string) {
	w.end()
	item := callItem(newID("fc_"), name, args)
	w.itemID = item["id"].(string)
	opened := map[string]any{}
	for k, v := range item {
		opened[k] = v
	}
	opened["arguments"], opened["status"] = "", "in_progress"
	w.added(opened)
	at := map[string]any{"item_id": w.itemID, "output_index": len(w.output), "delta": args}
	w.event("response.function_call_arguments.delta", at)
	w.event("response.function_call_arguments.done",
		map[string]any{"item_id": w.itemID, "output_index": len(w.output), "arguments": args})
	w.done(item)
}

// end closes the open item.
func (w *responsesWire) end() {
	switch w.kind {
	case "message":
		w.part("response.output_text.done", "content_index", map[string]any{"text": w.sofar})
		w.part("response.content_part.done", "content_index", map[string]any{"part": outputText(w.sofar)})
		w.done(messageItem(w.itemID, w.sofar))
	case "reasoning":
		w.part("response.reasoning_summary_text.done", "summary_index", map[string]any{"text": w.sofar})
		w.part("response.reasoning_summary_part.done", "summary_index", map[string]any{"part": summaryText(w.sofar)})
		w.done(reasoningItem(w.itemID, w.sofar))
	}
	w.kind, w.sofar = "", ""
}

func (w *responsesWire) finish(how ending) {
	w.end()
	w.event("response."+how.word("completed", "incomplete", "incomplete"), map[string]any{
		"response": how.mark(withUsage(response(w.id, w.model, "completed", w.output)))})
}

func (w *responsesWire) fail(_ int, message string) {
	r := response(w.id, w.model, "failed", w.output)
	r["error"] = map[string]any{"code": "server_error", "message": message}
	w.event("response.failed", map[string]any{"response": r})
}
