package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

var built = sync.OnceValues(build)

// Binary is the penstock under test: PENSTOCK_BIN, in a lab bin/penstock, which its host has built, else one that is
// built from this checkout, once.
func Binary(tb testing.TB) string {
	tb.Helper()
	path, err := os.Getenv("PENSTOCK_BIN"), error(nil)
	switch {
	case path != "":
	case os.Getenv("PENSTOCK_LAB") != "":
		path = filepath.Join(Top(tb), "bin", "penstock")
	default:
		path, err = built()
	}
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		tb.Fatalf("penstock binary: %v", err)
	}
	return path
}

// build makes test/.cache/penstock. The packages of a `go test` ask at the same time, and what already runs is not
// written over: that would be ETXTBSY.
func build() (string, error) {
	top, err := top()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(top, "test", ".cache")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	lock, err := os.OpenFile(filepath.Join(dir, "penstock.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return "", fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	path, fresh := filepath.Join(dir, "penstock"), filepath.Join(dir, "penstock.fresh")
	c := exec.Command("make", "--no-print-directory", "-s", "build", "BIN="+fresh)
	c.Dir = top
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", c, err, out)
	}
	text, err := os.ReadFile(fresh)
	if err != nil {
		return "", err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return path, nil
	}
	if err := os.WriteFile(path+".next", text, 0o755); err != nil {
		return "", err
	}
	return path, os.Rename(path+".next", path)
}

// Top is the checkout's root.
func Top(tb testing.TB) string {
	tb.Helper()
	dir, err := top()
	if err != nil {
		tb.Fatal(err)
	}
	return dir
}

func top() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "penstock")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("no cmd/penstock above the working directory")
}
