package conversation

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"penstock/outcome"
	"penstock/run"
	"penstock/server/dialect"
	"penstock/server/web"
)

// Thread is the conversation that a request begins or goes on with.
type Thread struct {
	Session string // "" is none
	OfRun   bool   // the session goes when its last run does, where it was made for an answer
	// Turn is what the CLI is told, and Whole what where it has forgotten the session; nil is not known.
	Turn  dialect.Turn
	Whole *dialect.Turn
	// Lock is the session's, where it was claimed; nil is to be waited for. It is to be released
	// where the run isn't started.
	Lock *run.SessionLock
	// Remember keeps what was said for the next request to find, and to know that it was said: to be
	// called when the run has been answered, before its client is told that; nil is nothing.
	Remember func(*run.Run)
}

// Asker is what a thread depends on beside its request.
type Asker struct {
	Info    *web.RequestInfo
	Run     string // id of the run to come
	Backend string // its name
	Resumes bool   // its CLI can go on with a session of its own
	Repeats bool   // the client says its whole conversation each time, and names none
	// Turn is the right to read earlier answers, each of which may be as large as a body; call done.
	Turn  func(ctx context.Context) (done func(), err error)
	Lease *web.BodyLease // what the request holds, and what is read for it
}

// Thread finds the conversation of a request.
func (s *Store) Thread(ctx context.Context, q *dialect.Request, by Asker) (Thread, error) {
	messages, err := s.Resolve(ctx, by, q.Messages)
	if err != nil {
		return Thread{}, err
	}
	t, err := s.find(ctx, q, messages, by)
	if err == nil && by.Repeats && t.Remember == nil {
		t.Remember = s.remember(by.Info.Client, "", ChainOf(q.Person, messages))
	}
	return t, err
}

func (s *Store) find(ctx context.Context, q *dialect.Request, messages []dialect.Message, by Asker) (Thread, error) {
	switch {
	case q.Previous != "":
		return s.continueAnswer(ctx, q, messages, by)
	case q.Session != "":
		return s.named(q, messages, by)
	case by.Resumes && by.Repeats:
		return s.repeated(ctx, q, messages, by)
	case by.Resumes && q.Asked != nil:
		return fresh(Thread{Session: dialect.ID(Prefix, by.Run), OfRun: true}, messages)
	}
	return fresh(Thread{}, messages)
}

// fresh is told all of the messages.
func fresh(t Thread, messages []dialect.Message) (_ Thread, err error) {
	t.Turn, err = dialect.Prompt(messages, false)
	return t, err
}

// resumed is told what follows the last answer; the CLI has the rest.
func resumed(t Thread, q *dialect.Request, messages []dialect.Message) (_ Thread, err error) {
	if t.Turn, err = dialect.Prompt(messages, true); errors.Is(err, dialect.ErrNothingNew) {
		return t, web.BadRequest(q.Turns, "%v", err)
	} else if err != nil {
		return t, err
	}
	t.Whole = whole(messages)
	return t, nil
}

// whole is nil where the messages can't be told.
func whole(messages []dialect.Message) *dialect.Turn {
	turn, err := dialect.Prompt(messages, false)
	if err != nil {
		return nil
	}
	return &turn
}

// named is for a client that names its session.
func (s *Store) named(q *dialect.Request, messages []dialect.Message, by Asker) (Thread, error) {
	t := Thread{Session: q.Session}
	if _, known := s.Runs.SessionKnown(by.Info.Client, q.Session); by.Resumes && known {
		return resumed(t, q, messages)
	}
	return fresh(t, messages)
}

// continueAnswer goes on from a stored answer: in its CLI's own session where that has gone no
// further, and has the same system text; else the conversation is told anew.
func (s *Store) continueAnswer(ctx context.Context, q *dialect.Request, messages []dialect.Message, by Asker) (Thread, error) {
	const param = "previous_response_id"
	if q.Session != "" {
		return Thread{}, web.BadRequest(param, "previous_response_id and a session id can't both be given: which conversation goes on?")
	}
	last, err := s.last(ctx, by, q.Previous, param)
	if err != nil {
		return Thread{}, err
	}
	if v, answered := last.verdict(); !answered {
		return Thread{}, web.BadRequest(param, "response %s is not complete yet: wait for it, or cancel it", web.Clip(q.Previous, 80))
	} else if v.Cause != outcome.Completed {
		return Thread{}, web.BadRequest(param, "response %s failed, and can't be continued: %s", web.Clip(q.Previous, 80), v.Message)
	}
	t, claimed := s.claimLast(ctx, last, messages, by)
	history, unknown := s.History(ctx, by, q.Previous, param)
	all := slices.Concat(history, messages)
	if claimed {
		if t.Turn, err = dialect.Prompt(messages, false); err != nil {
			t.Lock.Release()
			return Thread{}, err
		}
		if unknown == nil {
			t.Whole = whole(all)
		}
		return t, nil
	}
	if unknown != nil {
		return Thread{}, unknown
	}
	if by.Resumes {
		t = Thread{Session: dialect.ID(Prefix, by.Run), OfRun: true}
	}
	return fresh(t, all)
}

// last is a stored answer without its input, which may be large.
func (s *Store) last(ctx context.Context, by Asker, id, param string) (Stored, error) {
	done, err := by.Turn(ctx)
	if err != nil {
		return Stored{}, err
	}
	defer done()
	one, err := s.Answer(by.Info, id, param)
	one.Asked.Input = nil
	return one, err
}

// claimLast claims the session of an answer that was its last turn. An answer is told before its
// CLI has saved the session, which is waited for.
func (s *Store) claimLast(ctx context.Context, last Stored, messages []dialect.Message, by Asker) (Thread, bool) {
	r, client := last.Run.Record(), by.Info.Client
	if !by.Resumes || r.Session == "" || r.Client != client || last.Asked.System != SystemHash(messages) {
		return Thread{}, false
	}
	select {
	case <-last.Run.Ended():
	case <-ctx.Done():
		return Thread{}, false
	}
	lock, ok := s.Runs.ClaimSession(client, r.Session, by.Backend, r.ID)
	return Thread{Session: r.Session, OfRun: true, Lock: lock}, ok
}

// SystemHash tells system texts apart; "" is none.
func SystemHash(messages []dialect.Message) string {
	var texts []string
	for _, m := range messages {
		if m.Role == dialect.System {
			texts = append(texts, m.Text)
		}
	}
	if len(texts) == 0 {
		return ""
	}
	sum := sha256.Sum256([]byte(strings.Join(texts, "\n\n")))
	return hex.EncodeToString(sum[:])
}

// repeated is for a client that says its whole conversation each time: it goes on in the session
// in which all of it was said before, where there is one, and only one.
func (s *Store) repeated(ctx context.Context, q *dialect.Request, messages []dialect.Message, by Asker) (t Thread, err error) {
	client, asked := by.Info.Client, ChainOf(q.Person, messages)
	if before, found := Split(messages); found {
		t.Session, t.Lock = s.claimChain(ctx, client, by.Backend, ChainOf(q.Person, before).Key())
	}
	if t.Lock == nil {
		t.Session = dialect.ID("conv", by.Run)
		t, err = fresh(t, messages)
	} else if t, err = resumed(t, q, messages); err != nil {
		t.Lock.Release()
	}
	t.Remember = s.remember(client, t.Session, asked)
	return t, err
}

// remember has a session found by what was asked and the answer to it; "" is a session that is
// found by its name alone, or none. Of a failed answer, of which a client may keep what came, it
// only notes that it was said.
func (s *Store) remember(client, session string, asked Chain) func(*run.Run) {
	return func(r *run.Run) {
		chain, ok := asked.Answered(context.Background(), r)
		if !ok {
			return
		}
		var err error
		if session == "" || r.Verdict().Cause != outcome.Completed {
			err = s.Runs.NoteChain(client, chain.Key())
		} else {
			err = s.Runs.SetChain(client, session, r.ID(), chain.Key())
		}
		if err != nil {
			s.Log.Warn("a conversation won't be found by its text again", "run", r.ID(), "err", err)
		}
	}
}

// claimChain claims the session of a conversation; nil is none. One whose CLI has answered, and
// still saves it, is waited for.
func (s *Store) claimChain(ctx context.Context, client, backend string, chain run.Chain) (session string, lock *run.SessionLock) {
	for range settleTries {
		session, lock, ok := s.Runs.ClaimChain(client, backend, chain)
		if ok || session == "" {
			return session, lock
		}
		settled, err := s.Runs.LockSession(ctx, client, session, nil)
		if err != nil {
			break
		}
		settled.Release()
	}
	return "", nil
}

// settleTries bounds the waiting: each time another request may have been faster.
const settleTries = 3
