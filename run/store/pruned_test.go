package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// Durable runs that were pruned are remembered by their requests, so many of them,
// also by the next daemon, and of a crash in the middle of a line.
func TestPruned_AreRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pruned")
	p, err := OpenPruned([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	add := func(p *Pruned, i int) string {
		id := fmt.Sprint("r", i)
		p.Add(id, "c", []byte{byte(i)})
		return id
	}
	const many = 3*prunedMax + 7
	for i := 0; i < many; i += 100 {
		var batch []string
		for j := i; j < min(i+100, many); j++ {
			batch = append(batch, add(p, j))
		}
		if err := p.Save(batch); err != nil {
			t.Fatal(err)
		}
	}
	p.Add("plain", "", nil)
	if err := p.Save([]string{"plain"}); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("torn abc"); err != nil {
		t.Fatal(err)
	}
	f.Close()
	again, err := OpenPruned([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range []*Pruned{p, again} {
		if len(one.of) != prunedMax || len(one.order) != prunedMax {
			t.Errorf("%d (%d) remembered, want %d", len(one.of), len(one.order), prunedMax)
		}
		for i, want := range map[int]bool{many - 1: true, many - prunedMax: true, many - prunedMax - 1: false} {
			if got := one.Has(fmt.Sprint("r", i), "c", []byte{byte(i)}); got != want {
				t.Errorf("r%d: %v", i, got)
			}
		}
		if one.Has(fmt.Sprint("r", many-1), "c", []byte("another")) || one.Has(fmt.Sprint("r", many-1), "d", []byte{byte((many - 1) % 256)}) {
			t.Error("another request, or another client's, is taken for it")
		}
	}
	next := add(again, many)
	if err := again.Save([]string{next}); err != nil {
		t.Fatal(err)
	}
	if after, err := OpenPruned([]string{path}); err != nil || after.of[next] == "" || len(after.of) != prunedMax {
		t.Errorf("written after a torn line: %d remembered, %v", len(after.of), err)
	}
	if info, err := os.Stat(path); err != nil || info.Size() > prunedFileMax {
		t.Errorf("file: %v %v", info, err)
	}
	if _, err := OpenPruned([]string{filepath.Join(path, "below")}); err == nil || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not a directory: %v", err)
	}
}

// A full disk takes no line, or a part of one. What is written once there is room has them
// all, and none is taken for another's.
func TestPruned_LineThatCouldNotBeWritten(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "there", "pruned")
	p, err := OpenPruned([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	p.Add("first", "c", []byte("1"))
	if err := p.Save([]string{"first"}); err == nil {
		t.Fatal("saved where nothing can be")
	}
	if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("first torn"), 0o600)); err != nil {
		t.Fatal(err)
	}
	p.Add("second", "c", []byte("2"))
	if err := p.Save([]string{"second"}); err != nil {
		t.Fatal(err)
	}
	again, err := OpenPruned([]string{path})
	if err != nil || len(again.of) != 2 || !again.Has("first", "c", []byte("1")) || !again.Has("second", "c", []byte("2")) {
		t.Errorf("the next daemon: %v, %v", again.of, err)
	}
}
