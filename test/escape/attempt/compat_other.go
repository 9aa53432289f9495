//go:build !amd64

package main

import "errors"

func compatClone(*attempt) error { return errors.New("no 32-bit calls are tried on this processor") }
