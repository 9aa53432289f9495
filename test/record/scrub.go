package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

var (
	uuid     = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	iso      = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d([.-]\d+)?(Z|[+-]\d\d:\d\d)`)
	epoch    = regexp.MustCompile(`\b17\d{11}\b|\b18\d{11}\b`)
	long     = regexp.MustCompile(`"(?:[^"\\]|\\.){400,}"`)
	manual   = regexp.MustCompile(`("(?:description|preamble|tools)":)"(?:[^"\\]|\\.){60,}"`)
	greeting = regexp.MustCompile(`("type":"control_response","response":\{"subtype":"success","request_id":"[^"]*","response":)\{.*\}(\}\}|,"pending.*)`)
	duration = regexp.MustCompile(`("[A-Za-z_]*(?:_ms|Ms|_us)":)\d+(?:\.\d+)?`)
)

// scrubber replaces what differs from machine to machine and run to run.
type scrubber struct {
	paths *strings.Replacer
	uuids map[string]string
}

func newScrubber(p *place, root string) *scrubber {
	host, _ := os.Hostname()
	pairs := []string{
		p.home, "/home/user", p.cwd, "/home/user/project", p.tmp, "/tmp/run", p.dir, "/run/dir",
		dashed(p.cwd), "-home-user-project", p.base, "/tmp/base", root, "/penstock", strings.TrimPrefix(p.model.URL(), "http://"), "127.0.0.1:18080",
	}
	if host != "" && host != "localhost" {
		pairs = append(pairs, `"`+host+`"`, `"host"`)
	}
	return &scrubber{paths: strings.NewReplacer(pairs...), uuids: map[string]string{}}
}

// dashed is how some CLIs make a directory name of a path.
func dashed(path string) string { return strings.ReplaceAll(path, "/", "-") }

// scrub is output with fixed paths, ports, times and UUIDs (numbered in the
// order they appear, so that equal ones stay equal), without long texts: those
// are the CLI's own instructions to its model, which say nothing to an adapter, nor does
// all that claude says of itself when it is spoken to.
func (s *scrubber) scrub(output []byte) []byte {
	text := s.paths.Replace(string(output))
	text = uuid.ReplaceAllStringFunc(text, func(id string) string {
		if s.uuids[id] == "" {
			s.uuids[id] = fmt.Sprintf("00000000-0000-4000-8000-%012d", len(s.uuids)+1)
		}
		return s.uuids[id]
	})
	text = iso.ReplaceAllString(text, "2026-01-01T00:00:00.000Z")
	text = epoch.ReplaceAllString(text, "1767225600000")
	text = duration.ReplaceAllString(text, "${1}1")
	text = greeting.ReplaceAllString(text, `${1}{}}}`)
	text = manual.ReplaceAllString(text, `${1}"(long text cut)"`)
	text = long.ReplaceAllString(text, `"(long text cut)"`)
	return []byte(text)
}
