// Package conversation finds what earlier answers were asked and said, for clients that go on
// from one without saying it again: by its id, or by those of its items.
//
//	Store.Answer    a stored answer's run, and what was asked
//	Store.History   all that was said up to it
//	Store.Resolve   items that a request refers to
//	Store.Thread    the conversation that a request goes on with: thread.go; chain.go, by its text
//	keys.go         ids of answers whose run's own id doesn't fit into one
package conversation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/answer"
	"penstock/server/dialect"
	"penstock/server/openai"
	"penstock/server/web"
)

const (
	// turnsMax bounds the answers that a conversation is put together of.
	turnsMax = 1000
	// Prefix is that of an answer's id; only the responses dialect stores answers.
	Prefix = openai.ResponseID
)

// Store finds stored answers. Safe for concurrent use.
type Store struct {
	Runs *run.Manager
	Keys *Keys
	Log  *slog.Logger
}

// Stored is one answer that is kept.
type Stored struct {
	Run   *run.Run
	Asked dialect.Asked
}

// verdict is how its run went; false is that this isn't certain yet.
func (s Stored) verdict() (outcome.Verdict, bool) {
	select {
	case <-s.Run.Answered():
		return s.Run.Verdict(), true
	default:
		return outcome.Verdict{}, false
	}
}

// Answer finds a stored answer by its id; another client's is answered as if it were not there.
// param is the field that names it, for the error.
func (s *Store) Answer(x *web.RequestInfo, id, param string) (Stored, error) {
	key, ok := dialect.ParseID(Prefix, id)
	if !ok {
		return Stored{}, notFound("response", id, param)
	}
	return s.byKey(x, key, id, param)
}

func (s *Store) byKey(x *web.RequestInfo, key, id, param string) (Stored, error) {
	r, err := s.Runs.Get(s.Keys.Run(key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Stored{}, unreadable(err)
	}
	if err != nil || !x.Owns(r.Record().Client) {
		return Stored{}, notFound("response", id, param)
	}
	one := Stored{Run: r}
	data, err := s.Runs.Asked(r.ID())
	switch {
	case errors.Is(err, fs.ErrNotExist): // store was false, or it was asked in another dialect
		return Stored{}, notFound("response", id, param)
	case err != nil:
		return Stored{}, unreadable(err)
	}
	if err := json.Unmarshal(data, &one.Asked); err != nil {
		return Stored{}, web.Internal(fmt.Errorf("what run %s was asked: %w", r.ID(), err))
	}
	return one, nil
}

// Echo is what a run's answer says again of its request; nil where nothing is kept of that.
func (s *Store) Echo(r *run.Run) json.RawMessage {
	var asked dialect.Asked
	data, err := s.Runs.Asked(r.ID())
	if err != nil || json.Unmarshal(data, &asked) != nil {
		return nil
	}
	return asked.Echo
}

// unreadable is of what is there and can't be read now, for want of what the host should give.
func unreadable(err error) error {
	return web.Internal(fmt.Errorf("what is kept of an answer can't be read: %w", err))
}

func notFound(what, id, param string) *web.Error {
	e := web.Errorf(web.ResponseNotFound, "no %s %q: it was never there, is not kept any more, or was asked for with store false", what, web.Clip(id, 80))
	e.Param = param
	return e
}

// History is the conversation up to the end of a stored answer: what was asked and answered, the
// oldest turn first, without instructions, images and files. An earlier answer that isn't kept any
// more is a web.Error, as one that isn't complete.
func (s *Store) History(ctx context.Context, by Asker, last, param string) ([]dialect.Message, error) {
	done, err := by.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	var turns [][]dialect.Message
	size := 0
	for id, n := last, 1; id != ""; n++ {
		one, err := s.Answer(by.Info, id, param)
		if err != nil {
			return nil, err
		}
		messages, err := s.turn(ctx, by, one, param)
		if err != nil {
			return nil, err
		}
		length := past(messages)
		if size += length; n > turnsMax || size > dialect.PromptMax {
			return nil, web.Errorf(web.BodyTooLarge, "the conversation up to %s is too long to be told anew", last)
		}
		if err := by.Lease.Take(ctx, length); err != nil {
			return nil, err
		}
		turns = append(turns, messages)
		id = one.Asked.Previous
	}
	slices.Reverse(turns)
	return slices.Concat(turns...), nil
}

// messageSize is what a message holds beside its texts, in bytes.
const messageSize = 256

// past lets go of what isn't sent again of earlier messages, and is how much they hold then.
func past(messages []dialect.Message) (size int) {
	for i := range messages {
		messages[i].LeaveOut()
		size += messageSize + messages[i].Size()
	}
	return size
}

// turn is what one answer was asked, and what it said.
func (s *Store) turn(ctx context.Context, by Asker, one Stored, param string) ([]dialect.Message, error) {
	asked, err := openai.InputMessages(one.Asked.Input)
	if err != nil {
		return nil, err
	}
	for i := range asked {
		if asked[i].Ref != "" {
			asked[i].Where = param // of the request that goes on from it
		}
	}
	if asked, err = s.resolve(ctx, by, asked); err != nil {
		return nil, err
	}
	items, err := Output(ctx, one.Run)
	if err != nil {
		e := *web.AsError(err)
		if e.Kind == web.KindRun { // of the earlier answer, not of the request that goes on from it
			e = *web.BadRequest(param, "response %s is not complete, and can't be continued: %s", dialect.ID(Prefix, one.Run.ID()), e.Message)
		}
		return nil, &e
	}
	answered, err := openai.InputMessages(items)
	if err != nil {
		return nil, err
	}
	return append(asked, answered...), nil
}

// Output are the items of an answered run's answer, as the responses dialect has them. The error
// is a web.Error.
func Output(ctx context.Context, r *run.Run) ([]json.RawMessage, error) {
	steps, end, done, err := answer.Kept(ctx, r)
	if err != nil {
		return nil, err
	}
	defer done()
	record := r.Record()
	a := &dialect.Answer{Run: r.ID(), Model: record.Model, Backend: record.Backend, Created: record.Created, Received: record.Created, After: -1}
	var text bounded
	if err := (openai.Responses{}).Whole(a).Write(&text, end, dialect.Contents{}, steps); err != nil {
		return nil, err
	}
	var whole struct {
		Output []json.RawMessage `json:"output"`
	}
	if err := json.Unmarshal(text.Bytes(), &whole); err != nil {
		return nil, web.Internal(fmt.Errorf("the answer of run %s: %w", r.ID(), err))
	}
	return whole.Output, nil
}

// bounded takes no more than a prompt may have.
type bounded struct{ bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > dialect.PromptMax {
		return 0, web.Errorf(web.BodyTooLarge, "an earlier answer is too long to be told anew")
	}
	return b.Buffer.Write(p)
}

// Resolve puts what is referred to in the place of the messages that refer to it. Each answer is
// read once, and no more is held of it than what is referred to.
func (s *Store) Resolve(ctx context.Context, by Asker, messages []dialect.Message) ([]dialect.Message, error) {
	if !slices.ContainsFunc(messages, func(m dialect.Message) bool { return m.Ref != "" }) {
		return messages, nil
	}
	done, err := by.Turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return s.resolve(ctx, by, messages)
}

// resolve is Resolve for what has by.Turn.
func (s *Store) resolve(ctx context.Context, by Asker, messages []dialect.Message) ([]dialect.Message, error) {
	wanted, order, err := references(messages)
	if err != nil || len(order) == 0 {
		return messages, err
	}
	found, size := map[string]json.RawMessage{}, 0
	for _, first := range order {
		_, _, key, _ := dialect.ParseItemID(first.Ref)
		items, err := s.items(ctx, by.Info, key, first)
		if err != nil {
			return nil, err
		}
		for _, m := range wanted[key] {
			item, ok := items[m.Ref]
			if !ok {
				return nil, notFound("item", m.Ref, m.Where)
			}
			if size += messageSize + len(item); size > dialect.PromptMax {
				return nil, web.Errorf(web.BodyTooLarge, "the items that input refers to are too long to be told anew")
			}
			if err := by.Lease.Take(ctx, messageSize+len(item)); err != nil {
				return nil, err
			}
			found[m.Ref] = bytes.Clone(item)
		}
	}
	var out []dialect.Message
	for _, m := range messages {
		if m.Ref == "" {
			out = append(out, m)
			continue
		}
		is, err := openai.InputMessages([]json.RawMessage{found[m.Ref]})
		if err != nil {
			return nil, err
		}
		out = append(out, is...)
	}
	return out, nil
}

// references are the messages that refer to items, by the key of the answer that has those, and
// the first one of each, in order.
func references(messages []dialect.Message) (wanted map[string][]dialect.Message, order []dialect.Message, err error) {
	wanted = map[string][]dialect.Message{}
	for _, m := range messages {
		if m.Ref == "" {
			continue
		}
		_, _, key, ok := dialect.ParseItemID(m.Ref)
		if !ok {
			return nil, nil, notFound("item", m.Ref, m.Where)
		}
		if wanted[key] == nil {
			order = append(order, m)
		}
		wanted[key] = append(wanted[key], m)
	}
	return wanted, order, nil
}

// items are those of one answer, asked and said, by their ids.
func (s *Store) items(ctx context.Context, x *web.RequestInfo, key string, m dialect.Message) (map[string]json.RawMessage, error) {
	one, err := s.byKey(x, key, m.Ref, m.Where)
	if err != nil {
		return nil, err
	}
	output, err := Output(ctx, one.Run)
	if err != nil {
		return nil, err
	}
	out := map[string]json.RawMessage{}
	for _, item := range append(openai.ListInput(one.Asked.Input, one.Run.ID()), output...) {
		var named struct {
			ID string `json:"id"`
		}
		if json.Unmarshal(item, &named) == nil {
			out[named.ID] = item
		}
	}
	return out, nil
}
