// Package escape proves the cage from outside: it has a program inside a run
// of a real daemon try every known way out, and looks itself at what came of
// it when the run is over. docs/escape-matrix.md is what it found.
package escape
