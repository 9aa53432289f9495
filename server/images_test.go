package server

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/config"
	"penstock/image"
)

// A run without an image can't change images: neither the root file system that others
// will be in nor what a name means.
func TestImages_OutOfReach(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: where a plain user's runs are kept out depends on the directories above")
	}
	var dir string
	s := serve(t, func(c *config.Config) { dir = image.Dir(c.StateDir) })
	store, err := image.OpenExisting(dir)
	if err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + strings.Repeat("a", 64)
	g, err := store.Stage(t.Context())
	if err == nil {
		err = os.WriteFile(filepath.Join(g.Rootfs(), "file"), []byte("whole"), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Commit(t.Context(), image.Record{Digest: digest}, &image.Name{Name: "x", Digest: digest}); err != nil {
		t.Fatal(err)
	}
	if err := g.Discard(); err != nil {
		t.Fatal(err)
	}
	s.chat("sh", "cd "+dir+`; for f in names/x.json sha256/*/rootfs/file sha256/*/image.json new/y trash/y; do echo evil >$f; done; rm -rf *; mkdir -p names; echo evil >names/y.json; ls -R`, false, "")
	rootfs, err := store.Rootfs(digest)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(rootfs, "file")); err != nil || string(text) != "whole" {
		t.Errorf("%q %v", text, err)
	}
	if names, err := store.Names(); err != nil || len(names) != 1 || !store.Has(digest) {
		t.Errorf("%v %v", names, err)
	}
	for _, name := range []string{"new", "names"} {
		if entries, err := os.ReadDir(filepath.Join(dir, name)); err != nil || len(entries) != map[string]int{"names": 1}[name] {
			t.Errorf("%s: %v %v", name, entries, err)
		}
	}
}

// A store that can't be made keeps no daemon from its start that has no images; one that
// has them says why.
func TestOpenImages_NoStore(t *testing.T) {
	c := testConfig(t)
	if err := os.WriteFile(filepath.Join(c.StateDir, "images"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := openImages(t.Context(), c, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.Use(context.Background(), "x"); err == nil || m.Close() != nil || protectImages(m, nil) != nil {
		t.Errorf("%v", err)
	}
	c.Images = map[string]config.Image{"x": {Rootfs: t.TempDir()}}
	if _, err := openImages(t.Context(), c, nil, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("images without a store")
	}
}
