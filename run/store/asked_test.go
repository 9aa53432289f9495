package store

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What isn't whole is no answer to what was asked, and not taken for nothing.
func TestAsked_Torn(t *testing.T) {
	d := newDirectory(t, nil)
	if _, err := d.LoadAsked(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if err := d.SaveAsked([]byte("asked")); err != nil || d.Asked != 5 {
		t.Fatalf("%d, %v", d.Asked, err)
	}
	whole, err := os.ReadFile(d.StorePath(askedName))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut": string(whole[:len(whole)-1]), "only its head": string(whole[:askedHeadLen]), "longer": string(whole) + "x",
		"another": strings.Replace(string(whole), "asked", "ASKED", 1), "too long": strings.Repeat("x", askedHeadLen+AskedMax+1),
	} {
		if err := os.WriteFile(d.StorePath(askedName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := d.LoadAsked(); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if err := d.RemoveAsked(); err != nil {
		t.Error(err)
	}
	if err := d.RemoveAsked(); err != nil {
		t.Errorf("again: %v", err)
	}
}

// A run of the daemon's user may take the permission bits of the directory away; the next
// run starts all the same.
func TestAsked_PermissionBitsTakenAway(t *testing.T) {
	top := t.TempDir()
	for d := top; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	asOther(t, func() {
		s := &StateDir{Path: filepath.Join(top, "state")}
		s.Store = Store{[]string{filepath.Join(s.Path, storeName)}}
		if err := errors.Join(os.MkdirAll(s.Runs(), 0o700), s.fillStore(), os.Chmod(s.askedDir(), 0)); err != nil {
			t.Error(err)
			return
		}
		d := s.Indexed("r")
		if err := errors.Join(d.SaveAsked([]byte("asked")), os.Chmod(d.askedPaths()[0], 0), os.Chmod(s.askedDir(), 0)); err != nil {
			t.Error(err)
		}
		if got, err := d.LoadAsked(); err != nil || string(got) != "asked" {
			t.Errorf("%q, %v", got, err)
		}
		if err := errors.Join(os.Chmod(s.askedDir(), 0), d.RemoveAsked()); err != nil {
			t.Error(err)
		}
	})
}
