package history

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// So many runs may be removed at once that one line can't name them all.
func TestIndex_RemoveMany(t *testing.T) {
	dir := t.TempDir()
	x, _ := opened(t, dir)
	long := strings.Repeat("x", idMax-8)
	var all []string
	for i := range lineMax/idMax + 1000 {
		all = append(all, fmt.Sprintf("%s%08d", long, i))
		x.setBegun(all[i], position{segment: 1})
	}
	if err := x.Remove(all...); err != nil {
		t.Fatal(err)
	}
	if n := len(x.Begun()); n != 0 {
		t.Errorf("%d are there still", n)
	}
}

// What is being removed, or has only begun, is held; and no more once it is removed, also
// where that can't be written down.
func TestIndex_Holds(t *testing.T) {
	dir := t.TempDir()
	x, _ := opened(t, dir)
	if err := x.Begin("begun", nil); err != nil {
		t.Fatal(err)
	}
	finish(t, x, end(1, "c"))
	x.Hide("run-1")
	for id, want := range map[string]bool{"begun": true, "run-1": true, "none": false} {
		if x.Holds(id) != want || x.Has(id) {
			t.Errorf("%s: held %v, shown %v", id, x.Holds(id), x.Has(id))
		}
	}
	if err := errors.Join(os.RemoveAll(dir), os.WriteFile(dir, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := x.Remove("run-1", "begun"); err == nil {
		t.Error("written to no directory")
	}
	if x.Holds("begun") || x.Holds("run-1") {
		t.Error("held still")
	}
}
