package cgroup

import (
	"errors"
	"io/fs"
	"testing"
)

// A group of an earlier daemon that was adopted is not swept, and ends like any other.
func TestAdoptedGroupIsNotSwept(t *testing.T) {
	r := openRoot(t)
	left := newGroup(t, r, "left", nil)
	child := born(t, left.FD(), "sleep").ready(t)
	// As a daemon finds it that has not made it.
	r.forget(left)
	if _, err := r.Adopt("nobody", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a group that isn't there: %v, want ErrNotExist", err)
	}
	if _, err := r.Adopt("../daemon", nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no run's name: %v, want ErrNotExist", err)
	}
	g, err := r.Adopt("left", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Adopt("left", nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("adopted twice: %v, want ErrExist", err)
	}
	s, err := r.Sweep(t.Context())
	if err != nil || s.Groups != 0 || s.Processes != 0 {
		t.Errorf("swept %+v, %v", s, err)
	}
	if populated, err := g.Populated(); err != nil || !populated {
		t.Fatalf("populated %v after the sweep, %v", populated, err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
	end(t, g)
	if err := left.dir.close(); err != nil {
		t.Error(err)
	}
}
