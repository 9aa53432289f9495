package run

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/internal/trash"
	"penstock/outcome"
	"penstock/run/sessions"
	"penstock/run/store"
)

func TestOpen_WhateverLiesAround(t *testing.T) {
	state := t.TempDir()
	bad := map[string]func(path string) error{
		"fifo":    func(p string) error { return unix.Mkfifo(p, 0o600) },
		"link":    func(p string) error { return os.Symlink("/dev/zero", p) },
		"dir":     func(p string) error { return os.Mkdir(p, 0o700) },
		"garbage": func(p string) error { return os.WriteFile(p, []byte("\x00\xff{"), 0o600) },
		"cut":     func(p string) error { return os.WriteFile(p, []byte(`{"id":"cut","state":"fin`), 0o600) },
		"huge": func(p string) error {
			return errors.Join(os.WriteFile(p, []byte("{"), 0o600), os.Truncate(p, 8<<30))
		},
	}
	for name, make := range bad {
		dir := filepath.Join(state, "runs", name)
		records := filepath.Join(state, "sessions")
		err := errors.Join(os.MkdirAll(dir, 0o700), os.MkdirAll(records, 0o700),
			make(filepath.Join(dir, "run.json")), make(filepath.Join(records, sessions.Key("c", name)+".json")))
		if err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, func(o *Options) { o.StateDir = state })
	for name := range bad {
		r, err := m.Get(name)
		if err != nil {
			t.Errorf("%s: not there", name)
			continue
		}
		verdict(t, r, outcome.Lost)
	}
	if got := m.Sessions(""); len(got) != 0 {
		t.Errorf("sessions: %+v", got)
	}
}

// What a crash has left of a removal, of a session's making or of a write goes at
// the next start; what can't be understood stays.
func TestOpen_SweepsWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	whole, half, torn := sessions.Key("c", "whole"), sessions.Key("c", "half"), sessions.Key("c", "torn")
	for _, d := range []string{"sessions/" + whole, "sessions/" + half + "/work", "sessions/" + torn, "sessions/other", "trash/x/y"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"sessions/" + whole + ".json": `{"client":"c","session":"whole","updated":"` + time.Now().UTC().Format(time.RFC3339) + `"}`, "sessions/" + torn + ".json": "{",
		"sessions/.new-1": "", ".new-2": "", ".probe-3": "", ".penstock-check-4": "", "trash/x/y/z": "",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := open(t, func(o *Options) { o.StateDir = dir })
	want := []string{whole, torn, "other"}
	slices.Sort(want)
	if diff := cmp.Diff(want, names(t, m.state.Sessions())); diff != "" {
		t.Errorf("sessions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"lock", "runs", "sessions", "store", "trash"}, names(t, dir)); diff != "" {
		t.Errorf("state directory (-want +got):\n%s", diff)
	}
	for deadline := time.Now().Add(10 * time.Second); len(names(t, filepath.Join(m.state.Path, trash.Name))) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the trash is never emptied")
		}
	}
}

func TestOpen_TakesALockOver(t *testing.T) {
	dir := t.TempDir()
	lock, err := store.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, func(o *Options) { o.StateDir, o.Lock = dir, lock })
	verdict(t, start(t, m, script("echo 'd stop'")), outcome.Completed)
	if _, err := store.LockDir(dir); err == nil {
		t.Error("held twice")
	}
	elsewhere := t.TempDir()
	if lock, err = store.LockDir(elsewhere); err != nil {
		t.Fatal(err)
	}
	if _, err := (Options{StateDir: dir, Lock: lock}).stateDir(); err == nil {
		t.Error("a lock of another directory was taken for this one's")
	}
	if lock, err = store.LockDir(elsewhere); err != nil {
		t.Errorf("not given free when Open failed: %v", err)
	} else if err := lock.Close(); err != nil {
		t.Error(err)
	}
}
