package backend

import (
	"regexp"
	"strconv"
	"strings"
)

// versionForm is what a version looks like, whatever stands around it.
var versionForm = regexp.MustCompile(`\d+(?:\.\d+)+`)

// VersionLine is the line of a CLI's answer to --version that has a version in
// it, else the first one: some CLIs warn first. "" is none.
func VersionLine(printed string) string {
	var first string
	for line := range strings.Lines(printed) {
		line = strings.TrimSpace(line)
		if versionForm.MatchString(line) {
			return line
		}
		if first == "" {
			first = line
		}
	}
	return first
}

// Older is true when version, in the CLI's own words, is known to be before
// than. What has no version in it is not.
func Older(version, than string) bool {
	have, want := versionForm.FindString(version), versionForm.FindString(than)
	if have == "" || want == "" {
		return false
	}
	for have != "" || want != "" {
		var a, b int
		a, have = leading(have)
		b, want = leading(want)
		if a != b {
			return a < b
		}
	}
	return false
}

// leading cuts the first number off a version; a missing one is 0.
func leading(version string) (n int, rest string) {
	first, rest, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(first)
	if err != nil && first != "" {
		return 1 << 30, rest // no version has such a number
	}
	return n, rest
}
