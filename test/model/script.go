package model

import (
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
	text     string // answer after the counted deltas
}

var (
	marker       = regexp.MustCompile(`SCN=[a-z]|(?:CMD|SAY|REMEMBER)\{\{|\bRECALL\b`)
	scenarioMark = regexp.MustCompile(`\bSCN=(text|long|tool|think|empty|cut|refusal|halves|hang|mid|abrupt|void|e\d{3})\b`)
	deltasMark   = regexp.MustCompile(`\bN=(\d+)`)
	delayMark    = regexp.MustCompile(`\bDELAY=(\d+)`)
	breakMark    = regexp.MustCompile(`\bBREAK=(reset|event)\b`)
	commandMark  = regexp.MustCompile(`(?s)\bCMD\{\{(.*?)\}\}`)
	sayMark      = regexp.MustCompile(`(?s)\bSAY\{\{(.*?)\}\}`)
	rememberMark = regexp.MustCompile(`(?s)\bREMEMBER\{\{(.*?)\}\}`)
	recallMark   = regexp.MustCompile(`\bRECALL\b`)
)

// scriptFor reads the markers of the conversation.
func scriptFor(c conversation) script {
	last := c.lastUser()
	s := script{
		scenario: "text",
		deltas:   5,
		breakBy:  lastMatch(breakMark, last),
		command:  lastMatch(commandMark, last),
	}
	if m := lastMatch(scenarioMark, last); m != "" {
		s.scenario = m
	}
	switch s.scenario {
	case "long":
		s.deltas, s.delay = 200, 50*time.Millisecond
	case "refusal":
		s.deltas = 0
	}
	if n, err := strconv.Atoi(lastMatch(deltasMark, last)); err == nil {
		s.deltas, s.counted = n, true
	}
	if ms, err := strconv.Atoi(lastMatch(delayMark, last)); err == nil {
		s.delay = time.Duration(ms) * time.Millisecond
	}
	s.text = answer(c, last)
	return s
}

// answer is the end of every complete answer: what the conversation asks to be
// said or recalled, and how many user texts bore a marker.
func answer(c conversation, last string) string {
	var parts []string
	if out, ok := c.toolResult(); ok {
		parts = append(parts, "tool-said: "+firstLine(out))
	}
	if say := lastMatch(sayMark, last); say != "" {
		parts = append(parts, say)
	}
	if recallMark.MatchString(last) {
		for _, text := range c.earlierUser() {
			for _, m := range rememberMark.FindAllStringSubmatch(text, -1) {
				parts = append(parts, "recalled: "+m[1])
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
