//go:build !amd64

package main

import "errors"

func compatClone(*attempt) error { return errors.New("no 32-bit calls are tried on this processor") }

func compatBirth(a *attempt) error { return compatClone(a) }
