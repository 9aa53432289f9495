// Package hint is what an operator can do about an error or a warning, in one
// form: "cause (hint: remedy)".
//
//	Errorf(remedy, format, ...) -> *Error     an error that keeps both apart
//	Text(message, remedy)                     the same for a line of the log
//	Split(text) -> message, remedy            for surfaces that show them apart
package hint

import (
	"fmt"
	"strings"
)

// Error is an error with its remedy.
type Error struct {
	Err  error
	Hint string // what to do; may be ""
}

// Errorf makes an error as fmt.Errorf does.
func Errorf(remedy, format string, args ...any) *Error {
	return &Error{Err: fmt.Errorf(format, args...), Hint: remedy}
}

// Error is the cause with its hint.
func (e *Error) Error() string { return Text(e.Err.Error(), e.Hint) }

func (e *Error) Unwrap() error { return e.Err }

// Message is the cause alone.
func (e *Error) Message() string { return e.Err.Error() }

const lead = " (hint: "

// Text is a message with its hint, where there is one.
func Text(message, remedy string) string {
	if remedy == "" {
		return message
	}
	return message + lead + remedy + ")"
}

// Split takes the first hint out of a text; remedy is "" where there is none.
func Split(text string) (message, remedy string) {
	before, after, ok := strings.Cut(text, lead)
	if !ok {
		return text, ""
	}
	remedy, rest, ok := strings.Cut(after, ")")
	if !ok {
		return text, ""
	}
	return before + rest, remedy
}
