package model

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// script is what the markers of one request ask for.
type script struct {
	scenario string
	deltas   int
	counted  bool // N was given
	delay    time.Duration
	breakBy  string // "reset", "event" or "" for the protocol's default
	command  string
	calls    []string // CALL: tools with their arguments, one after the other
	lead     string   // said before the call
	text     string   // answer after the counted deltas
}

var (
	marker       = regexp.MustCompile(`SCN=[a-z]|(?:CMD|CALL|SAY|REMEMBER)\{\{|\b(?:RECALL|SEES)\b`)
	scenarioMark = regexp.MustCompile(`\bSCN=(text|only|long|tool|later|think|empty|cut|refusal|halves|hang|mid|abrupt|void|e\d{3})\b`)
	deltasMark   = regexp.MustCompile(`\bN=(\d+)`)
	delayMark    = regexp.MustCompile(`\bDELAY=(\d+)`)
	breakMark    = regexp.MustCompile(`\bBREAK=(reset|event)\b`)
	recallMark   = regexp.MustCompile(`\bRECALL\b`)
	seesMark     = regexp.MustCompile(`\bSEES\b`)
)

// scriptFor reads the markers of the conversation.
func scriptFor(c conversation) script {
	last := c.lastUser()
	s := script{
		scenario: "text",
		deltas:   5,
		breakBy:  lastMatch(breakMark, last),
		command:  lastBody("CMD", last),
		calls:    bodies("CALL", last),
		lead:     lastBody("LEAD", last),
	}
	if m := lastMatch(scenarioMark, last); m != "" {
		s.scenario = m
	}
	switch s.scenario {
	case "long":
		s.deltas, s.delay = 200, 50*time.Millisecond
	case "refusal", "only":
		s.deltas = 0
	case "later":
		s.scenario = "text"
		if c.answers() > 0 {
			s.scenario = "tool"
		}
	}
	if n, err := strconv.Atoi(lastMatch(deltasMark, last)); err == nil {
		s.deltas, s.counted = n, true
	}
	if ms, err := strconv.Atoi(lastMatch(delayMark, last)); err == nil {
		s.delay = time.Duration(ms) * time.Millisecond
	}
	s.text = answer(c, last)
	if s.scenario == "only" {
		s.text = said(c, last)
	}
	return s
}

// said is what SAY asks for; once there is an answer to that text, what THEN does.
func said(c conversation, last string) string {
	if then := lastBody("THEN", last); then != "" && c.answers() > 0 {
		return then
	}
	return lastBody("SAY", last)
}

// answer is the end of every complete answer: what the conversation asks to be
// said or recalled, and how many user texts bore a marker.
func answer(c conversation, last string) string {
	var parts []string
	if out, ok := c.toolResult(); ok {
		parts = append(parts, "tool-said: "+firstLine(out))
	}
	if say := said(c, last); say != "" {
		parts = append(parts, say)
	}
	if seesMark.MatchString(last) {
		parts = append(parts, "sees:")
		for _, image := range c.images() {
			parts = append(parts, image.SHA256)
		}
	}
	if recallMark.MatchString(last) {
		for _, text := range c.earlierUser() {
			for _, body := range bodies("REMEMBER", text) {
				parts = append(parts, "recalled: "+body)
			}
		}
	}
	parts = append(parts, fmt.Sprintf("marked-user-turns=%d", c.marked()))
	return strings.Join(parts, " ")
}

// firstLine is the first line of a tool's own output. Several CLIs put a report
// around it (codex: "Output:" on its own line; gemini: "Output: x"; kimi: a first
// line "Wall time: 0.018 seconds").
func firstLine(out string) string {
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) > 1 && strings.HasPrefix(lines[0], "Wall time: ") {
		lines = lines[1:]
	}
	for i, line := range lines {
		rest, ok := strings.CutPrefix(line, "Output:")
		if !ok {
			continue
		}
		if rest = strings.TrimSpace(rest); rest != "" {
			return rest
		}
		if i+1 < len(lines) {
			return strings.TrimSpace(lines[i+1])
		}
	}
	return strings.TrimSpace(lines[0])
}

func lastMatch(re *regexp.Regexp, text string) string {
	all := re.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1][1]
}

func lastBody(name, text string) string {
	all := bodies(name, text)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// bodies are what stands in each NAME{{...}} of a text: up to the first }}, or a
// whole JSON value with the }} after it.
func bodies(name, text string) []string {
	var all []string
	open := regexp.MustCompile(`\b` + name + `\{\{`)
	for {
		at := open.FindStringIndex(text)
		if at == nil {
			return all
		}
		text = text[at[1]:]
		end := bodyEnd(text)
		if end < 0 {
			return all
		}
		all = append(all, text[:end])
		text = text[end+2:]
	}
}

// bodyEnd is where the }} of a body is, -1 for none. The arguments of a CALL stand
// after its name.
func bodyEnd(text string) int {
	start := strings.IndexAny(text, "{[")
	if start > 0 && strings.ContainsAny(text[:start], "}\n") || start < 0 {
		start = 0
	}
	in := json.NewDecoder(strings.NewReader(text[start:]))
	var value json.RawMessage
	if in.Decode(&value) == nil {
		if end := start + int(in.InputOffset()); strings.HasPrefix(text[end:], "}}") {
			return end
		}
	}
	return strings.Index(text, "}}")
}
