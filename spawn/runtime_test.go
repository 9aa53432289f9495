package spawn

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRuntimeFailed(t *testing.T) {
	for told, want := range map[string]string{
		"": "without a word",
		"bwrap: Failed to make / slave: Operation not permitted":            "SystemCallFilter=@mount",
		"bwrap: Can't mount proc on /newroot/proc: Operation not permitted": "BindPaths=/proc:/run/penstock.proc:norbind",
		"bwrap: Can't set hostname to penstock: Operation not permitted":    "ProtectHostname=no",
		"bwrap: setting up uid map: Permission denied":                      "AppArmor",
		"bwrap: No permissions to create new namespace, likely because":     "user.max_user_namespaces",
		"bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted":      "CapabilityBoundingSet=CAP_NET_ADMIN",
		"bwrap: Can't open source /: Function not implemented":              "systemd/account.conf",
		"bwrap: something else": "something else",
	} {
		if err := runtimeFailed(told); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", told, err, want)
		}
	}
}

func TestOpenRuntime_Refused(t *testing.T) {
	if _, err := OpenRuntime(t.Context(), "", nil); err == nil {
		t.Error("without a process 1")
	}
	program, err := process1()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(program[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := OpenRuntime(t.Context(), "/no/such/bwrap", f); err == nil || !strings.Contains(err.Error(), "apt install bubblewrap") {
		t.Errorf("without bubblewrap: %v", err)
	}
	old := filepath.Join(t.TempDir(), "bwrap")
	if err := os.WriteFile(old, []byte("#!/bin/sh\necho '    --bind SRC DEST'\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenRuntime(t.Context(), old, f); err == nil || !strings.Contains(err.Error(), "no --bind-fd") {
		t.Errorf("an old bubblewrap: %v", err)
	}
}

func TestRuntime_Probe(t *testing.T) {
	r := runtimeOf(t)
	if err := r.Probe(t.Context(), true); err != nil {
		if lab() {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// A host may have it executed nowhere, for whatever reason.
	text, err := io.ReadAll(r.Process1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "closed")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	closed, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	r.Process1 = closed
	if err := r.Probe(t.Context(), false); err == nil || !strings.Contains(err.Error(), "execvp") {
		t.Errorf("a process 1 that can't be executed: %v", err)
	}
}
