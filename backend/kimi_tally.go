package backend

import "regexp"

// kimiTally follows the session's token total, as kimi's /usage command tells it
// (2.1.0: no model call, some 10 ms, not part of the conversation). It gives
// what the protocol does not: the turn's tokens, and whether its last model call
// succeeded. A failed one ends the turn as any other does ("end_turn", with the
// text of the broken stream or none), but adds nothing to the total, while one
// that succeeded always does.
type kimiTally struct {
	before kimiTotal // at the turn's start
	last   kimiTotal // after the last model call known to have ended
	now    kimiTotal
	known  bool // before is known, or was asked for in vain
	lost   bool // an answer was not understood: nothing can be said
	final  bool
	asking int  // questions without an answer
	told   bool // now is the answer to the oldest of them
	quiet  bool // nothing came from a further model call since the last question
}

type kimiTotal struct {
	calls         bool
	input, output count
}

var kimiUsage = regexp.MustCompile(`^Context: [^\n]*\nSession total: (?:no LLM calls yet|(\d+) input, (\d+) output)$`)

// kimiNothing is the total of a session without a model call.
var kimiNothing = kimiTotal{input: count{state: known}, output: count{state: known}}

// anew says that the session is a new one: it has no tokens yet.
func (t *kimiTally) anew() {
	t.known, t.before, t.last, t.now = true, kimiNothing, kimiNothing, kimiNothing
}

// takes is true for the text that answers /usage.
func (t *kimiTally) takes(u acpUpdate) bool {
	if t.asking == 0 || u.Kind != "agent_message_chunk" {
		return false
	}
	found := kimiUsage.FindStringSubmatch(blockText(u.Content))
	if found == nil {
		return false
	}
	t.told = true
	t.now = kimiNothing
	if found[1] != "" {
		t.now = kimiTotal{true, countOf(found[1]), countOf(found[2])}
	}
	return true
}

// stirred says that the model has gone on.
func (t *kimiTally) stirred() { t.quiet = false }

// askUsage asks for the total and goes on when it was told.
func (m *acpMachine) askUsage(then func()) {
	t := &m.tally
	t.asking++
	t.quiet = true
	m.tell("/usage", func(rpcMessage) {
		t.asking--
		t.lost = t.lost || !t.told
		t.told = false
		if !t.known {
			t.known = true
			t.before, t.last = t.now, t.now
		}
		then()
	})
}

// toolUpdated asks for the total when a tool has ended: until the next model call
// says something, that is the total of the calls before it.
func (m *acpMachine) toolUpdated(u acpUpdate) {
	t := &m.tally
	if u.Status != "completed" && u.Status != "failed" {
		t.stirred()
		return
	}
	if t.asking > 0 {
		return
	}
	m.askUsage(func() {
		if t.quiet && m.turning {
			t.last = t.now
		}
	})
}

// tallied reports the turn's tokens, and a model call that failed.
func (m *acpMachine) tallied(done Event) {
	t := &m.tally
	t.final = true
	if t.lost {
		m.settle(done)
		return
	}
	m.emit(tokens{prompt: t.now.input.minus(t.before.input), completion: t.now.output.minus(t.before.output)}.report(nil)...)
	// A provider that tells no tokens leaves the total at zero: no evidence.
	if done.Finish == "stop" && !m.calls.told && t.now == t.last && (!t.now.calls || t.now.input.some()) {
		done = Event{Kind: Failed, Failure: providerFailure(0, "the model call failed: kimi tells the reason in its log only "+
			"(sessions/*/"+bound(m.session, noticeMax)+"/logs/kimi-code.log in its data directory)")}
	}
	m.settle(done)
}
