package model

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Usage of every complete answer, in tokens; inputTokens has the cached ones in it.
const (
	inputTokens  = 120
	cachedTokens = 20
	outputTokens = 12
	created      = 1767225600
)

// settleBeforeReset lets the client read what was sent: some clients drop bytes
// they have not read yet when a reset arrives.
const settleBeforeReset = 50 * time.Millisecond

// reply is a whole answer.
type reply struct {
	thought  string
	text     string
	callName string // with callArgs: a call of a tool, text is what was said before it
	callArgs string
	ending   ending
}

// ending is why the model stopped.
type ending int

const (
	atItsEnd ending = iota
	atLimit         // the token limit cut it
	refused         // for safety
)

// word is a provider's word for an ending.
func (e ending) word(natural, limit, refusal string) string {
	return [...]string{natural, limit, refusal}[e]
}

func (s script) ending() ending {
	switch s.scenario {
	case "cut":
		return atLimit
	case "refusal":
		return refused
	}
	return atItsEnd
}

// The halves of a surrogate pair, as events.write puts them on the wire: JSON can
// say them one by one, Go's strings can't.
const (
	highHalf = "\uE83D"
	lowHalf  = "\uEE00"
)

// player plays one script on one connection.
type player struct {
	w     http.ResponseWriter
	ctx   context.Context
	s     *Server
	p     protocol
	c     conversation
	sc    script
	delta string // name of the counted deltas
}

// play answers one request by its script and says how that ended.
func (s *Server) play(w http.ResponseWriter, r *http.Request, p protocol, c conversation, sc script) Outcome {
	pl := &player{w: w, ctx: r.Context(), s: s, p: p, c: c, sc: sc, delta: "tok"}
	if status, err := strconv.Atoi(strings.TrimPrefix(sc.scenario, "e")); err == nil {
		return pl.refuse(status)
	}
	if sc.scenario == "void" {
		if !s.voidNow(c.lastUser()) {
			pl.sc.scenario = "text"
		} else {
			pl.delta = "void"
			pl.sc.scenario = "abrupt"
			if how := sc.breakBy; how == "event" || how == "" && p.breakBy() == "event" {
				pl.sc.scenario = "mid"
			}
		}
	}
	if !c.stream {
		return pl.once()
	}
	return pl.streamed()
}

func (p *player) refuse(status int) Outcome {
	switch status {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable, 529:
		p.w.Header().Set("Retry-After", "1")
	}
	writeJSON(p.w, status, p.p.failure(status, fmt.Sprintf("scripted error %d", status)))
	return Refused
}

// once answers without streaming.
func (p *player) once() Outcome {
	switch p.sc.scenario {
	case "hang":
		p.wait(0)
		return Gone
	case "abrupt":
		return p.reset()
	case "mid":
		p.refuse(http.StatusInternalServerError)
		return Broken
	}
	writeJSON(p.w, http.StatusOK, p.p.whole(p.c, p.reply()))
	return Complete
}

func (p *player) reply() reply {
	a := reply{ending: p.sc.ending()}
	switch p.sc.scenario {
	case "empty":
		return a
	case "refusal":
		a.text = p.counted("tok")
		return a
	case "halves":
		a.text = p.counted("tok") + "\U0001F600" + p.sc.text
		return a
	case "tool":
		if a.callName, a.callArgs = p.toolCall(); a.callName != "" {
			a.text = p.sc.lead
			return a
		}
	case "think":
		a.thought = p.counted("thought")
	}
	a.text = p.counted("tok") + p.sc.text
	return a
}

func (p *player) streamed() Outcome {
	p.w.Header().Set("Content-Type", "text/event-stream")
	p.w.Header().Set("Cache-Control", "no-cache")
	p.w.WriteHeader(http.StatusOK)
	out := &events{w: p.w, rc: http.NewResponseController(p.w)}
	out.flush()
	if p.sc.scenario == "hang" && !p.sc.counted {
		p.wait(0)
		return Gone
	}
	wire := p.p.stream(out, p.c)
	if o := p.script(wire); o != Complete {
		return o
	}
	wire.finish(p.sc.ending())
	if out.err != nil {
		return Gone
	}
	return Complete
}

// script plays the content of a streamed answer.
func (p *player) script(wire wire) Outcome {
	switch p.sc.scenario {
	case "empty":
		return Complete
	case "tool":
		if name, args := p.toolCall(); name != "" {
			if p.sc.lead != "" {
				wire.text(p.sc.lead)
			}
			wire.call(name, args)
			return Complete
		}
	case "think":
		if !p.run("thought", wire.think) {
			return Gone
		}
	}
	if !p.run(p.delta, wire.text) {
		return Gone
	}
	switch p.sc.scenario {
	case "hang":
		p.wait(0)
		return Gone
	case "mid":
		wire.fail(529, "scripted error in the stream")
		return Broken
	case "abrupt":
		return p.reset()
	case "refusal":
		return Complete
	case "halves":
		wire.text(highHalf)
		wire.text(lowHalf)
	}
	wire.text(p.sc.text)
	return Complete
}

// run writes the counted deltas and says whether the client is still there.
func (p *player) run(name string, write func(string)) bool {
	for i := range p.sc.deltas {
		if i > 0 && p.sc.delay > 0 && !p.wait(p.sc.delay) {
			return false
		}
		write(fmt.Sprintf("%s%d ", name, i))
	}
	return p.sc.delay == 0 || p.wait(p.sc.delay)
}

func (p *player) counted(name string) string {
	var b strings.Builder
	for i := range p.sc.deltas {
		fmt.Fprintf(&b, "%s%d ", name, i)
	}
	return b.String()
}

// wait waits for d, or with 0 for ever, and is false when the client or the
// server went first.
func (p *player) wait(d time.Duration) bool {
	var over <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		over = t.C
	}
	select {
	case <-over:
		return true
	case <-p.ctx.Done():
		return false
	case <-p.s.closed:
		return false
	}
}

// toolCall is the tool call the script asks for, unless its result is there.
func (p *player) toolCall() (name, args string) {
	done := len(p.c.toolResults())
	if done < len(p.sc.calls) {
		name, args, _ = strings.Cut(p.sc.calls[done], " ")
		return name, args
	}
	if done > 0 {
		return "", ""
	}
	name, fields, ok := p.c.shell(p.sc.command)
	if !ok {
		return "", ""
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return "", ""
	}
	return name, string(raw)
}

// reset breaks the connection with a TCP reset.
func (p *player) reset() Outcome {
	p.wait(settleBeforeReset)
	conn, _, err := http.NewResponseController(p.w).Hijack()
	if err != nil {
		return Gone
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
	return Broken
}
