package acp

import (
	"regexp"

	"penstock/backend"
	"penstock/backend/jsonrpc"
	"penstock/backend/parse"
	"penstock/backend/provider"
)

// kimiChatter is what kimi says of a compaction, each in a chunk of its own.
var kimiChatter = regexp.MustCompile(`^(?:Compacting conversation context(?:…| with instruction: (?s:.*))` +
	`|Compaction completed\.\n- Messages compacted: [\d,]+\n- Tokens before: [\d,]+\n- Tokens after: [\d,]+` +
	`|Compaction cancelled\.|Compaction is blocked by the current turn; retry when the turn is idle\.)$`)

// NewKimi is Kimi Code (@moonshot-ai/kimi-code 2.1.0) as an ACP agent; its print
// mode takes the prompt in argv only.
//
// One attempt for each model call: a second one would send its text after the
// broken first's, with nothing between. The session is on disk a moment after
// the result only: SIGKILL or SIGTERM at that line loses the turn without a
// word, at the answer of a session/close (some 20 ms later) nothing is lost
// (measured). That is far sooner than its own exit, which waits for telemetry.
// For a second prompt it takes the session up again in the same process.
func NewKimi(c backend.Config) backend.Backend {
	return cli{c, profile{
		argv: []string{"acp"},
		set: map[string]string{
			"KIMI_CODE_NO_AUTO_UPDATE":        "1",
			"KIMI_DISABLE_TELEMETRY":          "1",
			"KIMI_LOOP_MAX_ATTEMPTS_PER_STEP": "1",
			"KIMI_LOOP_MAX_RETRIES_PER_STEP":  "1",
		},
		pass:    []string{"KIMI_API_KEY", "KIMI_BASE_URL", "KIMI_CODE_BASE_URL", "KIMI_MODEL_*", "MOONSHOT_API_KEY"},
		modes:   map[string]string{"bypass": "yolo", "plan": "plan"},
		tally:   true,
		chatter: kimiChatter,
		close:   true,
		script:  provider.NodeRequire,
	}}
}

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
	input, output parse.Count
}

var kimiUsage = regexp.MustCompile(`^Context: [^\n]*\nSession total: (?:no LLM calls yet|(\d+) input, (\d+) output)$`)

// kimiNothing is the total of a session without a model call.
var kimiNothing = kimiTotal{input: parse.Count{State: parse.Known}, output: parse.Count{State: parse.Known}}

// anew says that the session is a new one: it has no tokens yet.
func (t *kimiTally) anew() {
	t.known, t.before, t.last, t.now = true, kimiNothing, kimiNothing, kimiNothing
}

// again says that another turn begins.
func (t *kimiTally) again() { t.final, t.last = false, t.now }

// takes is true for the text that answers /usage.
func (t *kimiTally) takes(u update) bool {
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
		t.now = kimiTotal{true, parse.CountOf(found[1]), parse.CountOf(found[2])}
	}
	return true
}

// stirred says that the model has gone on.
func (t *kimiTally) stirred() { t.quiet = false }

// askUsage asks for the total and goes on when it was told.
func (m *machine) askUsage(then func()) {
	t := &m.tally
	t.asking++
	t.quiet = true
	m.tell(func(jsonrpc.Message) {
		t.asking--
		t.lost = t.lost || !t.told
		t.told = false
		if !t.known {
			t.known = true
			t.before, t.last = t.now, t.now
		}
		then()
	}, textBlock("/usage"))
}

// toolUpdated asks for the total when a tool has ended: until the next model call
// says something, that is the total of the calls before it.
func (m *machine) toolUpdated(u update) {
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
func (m *machine) tallied(done backend.Event) {
	t := &m.tally
	t.final = true
	if t.lost {
		m.settle(done)
		return
	}
	m.emit(parse.Tokens{Prompt: t.now.input.Minus(t.before.input), Completion: t.now.output.Minus(t.before.output)}.Report(nil)...)
	// A provider that tells no tokens leaves the total at zero: no evidence.
	if done.Finish == "stop" && !m.calls.Told && t.now == t.last && (!t.now.calls || t.now.input.Some()) {
		done = backend.Event{Kind: backend.Failed, Failure: parse.ProviderFailure(0, "the model call failed: kimi tells the reason in its log only "+
			"(sessions/*/"+parse.Bound(m.session, parse.NoticeMax)+"/logs/kimi-code.log in its data directory)")}
	}
	m.settle(done)
}
