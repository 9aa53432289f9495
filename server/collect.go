package server

import (
	"context"
	"net/http"
	"strings"
	"time"

	"penstock/backend"
	"penstock/run"
	"penstock/spawn"
)

const (
	// Stock clients give up after 301 s of silence; a reply that takes long
	// starts with its headers and then spaces, which JSON allows in front.
	padAfter = 60 * time.Second
	padEvery = 15 * time.Second
)

// answer is a run's events put together.
type answer struct {
	text, reasoning []byte
	tools           []backend.Tool
	usage           *backend.Usage
}

func (a *answer) add(e backend.Event) {
	switch e.Kind {
	case backend.Text:
		a.text = append(a.text, e.Text...)
	case backend.Void:
		a.text = a.text[:min(max(e.Keep, 0), len(a.text))]
	case backend.Reasoning:
		a.reasoning = append(a.reasoning, e.Text...)
	case backend.ToolUse:
		if e.Tool != nil {
			a.tools = append(a.tools, *e.Tool)
		}
	case backend.UsageReport:
		a.usage = e.Usage
	}
}

// padding keeps a reply alive that takes long.
type padding struct {
	w     *reply
	timer *time.Timer
}

func (p *padding) pad() error {
	if !p.w.begun() {
		p.w.Header().Set("Content-Type", "application/json")
		p.w.WriteHeader(http.StatusOK)
	}
	p.timer.Reset(padEvery)
	if _, err := p.w.Write([]byte(" ")); err != nil {
		return err
	}
	return p.w.FlushError()
}

// collect serves a chat request as one object.
func (d *daemon) collect(w *reply, x *exchange, ctx context.Context, j *job) error {
	p := &padding{w: w, timer: time.NewTimer(padAfter)}
	defer p.timer.Stop()
	a, record, err := p.gather(ctx, j)
	if ctx.Err() != nil && err != nil {
		if !j.durable {
			j.cancel(err)
		}
		err = clientGone(j.id)
	}
	if err != nil {
		return p.fail(x, record, err)
	}
	x.cause = string(spawn.Completed)
	return p.write(http.StatusOK, a.completion(record))
}

// gather waits for the run and all its events.
func (p *padding) gather(ctx context.Context, j *job) (*answer, run.Record, error) {
	if err := p.wait(ctx, j.started); err != nil {
		return nil, run.Record{}, err
	}
	if j.err != nil {
		return nil, run.Record{}, notStarted(j.id, j.err)
	}
	f := follow(ctx, j.run)
	defer f.Close()
	a := &answer{}
	for more := true; more; {
		select {
		case e, open := <-f.events:
			if more = open; more {
				a.add(e)
			}
		case <-p.timer.C:
			if err := p.pad(); err != nil {
				return nil, run.Record{}, err
			}
		case <-ctx.Done():
			return nil, run.Record{}, ctx.Err()
		}
	}
	if f.err != nil {
		return nil, run.Record{}, f.err
	}
	if err := p.wait(ctx, j.run.Ended()); err != nil {
		return nil, run.Record{}, err
	}
	record := j.run.Record()
	if v := j.run.Verdict(); v.Cause != spawn.Completed {
		return nil, record, runFailed(v, record)
	}
	return a, record, nil
}

func (p *padding) wait(ctx context.Context, what <-chan struct{}) error {
	for {
		select {
		case <-what:
			return nil
		case <-p.timer.C:
			if err := p.pad(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *answer) completion(record run.Record) completion {
	c := newCompletion("chat.completion", record)
	reason := finishReason(record)
	c.Choices = []choice{{
		Message: &answerMessage{Role: roleAssistant, Content: string(a.text), Reasoning: string(a.reasoning), Tools: a.tools},
		Finish:  &reason,
	}}
	c.Usage, c.Cost = usageOf(a.usage)
	c.Receipt, c.Metadata = record.Receipt, record.Metadata
	return c
}

// fail gives the error its status, or, where padding is out already, a 200
// whose body can't be mistaken for an answer.
func (p *padding) fail(x *exchange, record run.Record, err error) error {
	if !p.w.begun() {
		return err
	}
	e := asHTTPError(err)
	x.cause, x.err = e.Code, e
	c := newCompletion("chat.completion", record)
	reason := "error"
	body := e.body()
	c.Error = &body
	c.Choices = []choice{{Message: &answerMessage{Role: roleAssistant}, Finish: &reason}}
	if record.ID == "" {
		c.ID, c.Created = "chatcmpl-"+e.RunID, time.Now().Unix()
	}
	return p.write(http.StatusOK, c)
}

func (p *padding) write(status int, c completion) error {
	if !p.w.begun() {
		writeJSON(p.w, status, c)
		return nil
	}
	text, err := marshal(c)
	if err != nil {
		return err
	}
	_, err = p.w.Write([]byte(strings.TrimSpace(string(text)) + "\n"))
	return err
}
