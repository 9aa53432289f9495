package config

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestInertNamesWhatHasNoEffectYet(t *testing.T) {
	c, err := newScene(t).load(t, "[clients.bob]\nmax_runs = 3\nreserved_runs = 1\n[clients.alice]\nweight = 2\n[clients.eve]\nmax_runs = 1\nweight = 1\n")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"clients.alice.weight", "clients.bob.reserved_runs"}, c.Inert()); diff != "" {
		t.Errorf("inert (-want +got):\n%s", diff)
	}
}

func TestClientOfTheSocketIsAUID(t *testing.T) {
	for name, want := range map[string]string{"1000": "uid:1000", "alice": "alice", "anonymous": "anonymous", "4x": "4x"} {
		if got := ClientID(name); got != want {
			t.Errorf("ClientID(%q) = %q, want %q", name, got, want)
		}
	}
}
