package config

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadListen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "penstock.toml")
	text := "listen = [\"unix:~/s\", \"127.0.0.1:4000\"]\ntokens_file = \"/nowhere/tokens\"\nnonsense = 1\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := ReadListen(Sources{File: file, Environ: []string{"HOME=/home/u", "PENSTOCK_ODD=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Listen{File: file, Addresses: []string{"unix:/home/u/s", "127.0.0.1:4000"}}, d); diff != "" {
		t.Error(diff)
	}
	if d, err = ReadListen(Sources{File: file, Environ: []string{"PENSTOCK_LISTEN=127.0.0.1:4001"}}); err != nil || d.Addresses[0] != "127.0.0.1:4001" {
		t.Errorf("%+v, %v", d, err)
	}
	for _, environ := range []string{"PENSTOCK_LISTEN=here", "PENSTOCK_LISTEN="} {
		if d, err = ReadListen(Sources{File: file, Environ: []string{environ}}); err == nil {
			t.Errorf("%s: %+v", environ, d)
		}
	}
	if _, err = ReadListen(Sources{File: file + ".not"}); err == nil {
		t.Error("a named file that isn't there is no error")
	}
}

// What tells a client where the daemon is, is no setting of the daemon's.
func TestClientVariables(t *testing.T) {
	environ := []string{"HOME=" + t.TempDir(), "PENSTOCK_URL=http://x", "PENSTOCK_TOKEN=secret", "PENSTOCK_TOKEN_FILE=/x"}
	if _, err := Load(Sources{Environ: environ, Host: Host{MemoryBytes: 8 << 30}}); err != nil {
		t.Error(err)
	}
}
