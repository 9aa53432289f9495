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

// What would cover a program that is looked for in an image is an error at the start, where the
// image is there.
func TestOpenImages_ProgramCovered(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"usr/bin", "usr/local/bin", "srv"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.WriteFile(filepath.Join(root, "usr/local/bin/agent"), []byte("#!/bin/sh\n"), 0o755),
		os.Symlink("usr/local/bin", filepath.Join(root, "bin")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c := testConfig(t)
	c.Images = map[string]config.Image{"tiny": {Rootfs: root, Home: "/home/agent"}}
	const local = "it would cover /usr/local/bin, where image tiny has the program"
	for _, row := range []struct{ command, to, cwd, path, why string }{
		{"agent", "/usr/local/bin", "", "", "backends.box.mounts: /usr/local/bin: " + local},
		{"agent", "/usr/local", "", "", "backends.box.mounts: /usr/local: " + local},
		{"agent", "/bin", "", "", "backends.box.mounts: /bin: " + local},
		{"agent", "/srv/data", "/usr/local/bin", "", "backends.box.cwd: /usr/local/bin: " + local},
		{"agent", "/srv/data", "", "", ""},
		{"agent", "/usr/local/bin/more", "", "", ""},
		{"agent", "/usr/local/bin", "", "/srv", ""}, // it is found nowhere: a mount may have it
		{"other", "/usr/local/bin", "", "", ""},
	} {
		b := config.Backend{Name: "box", Kind: "exec", Command: []string{row.command}, Configured: true, Image: "tiny", Cwd: row.cwd, Limits: limitsOf(), Mounts: []config.Mount{{From: t.TempDir(), To: row.to, Mode: "ro"}}}
		if row.path != "" {
			b.SetEnv = map[string]string{"PATH": row.path}
		}
		c.Backends = map[string]config.Backend{"box": b}
		m, err := openImages(t.Context(), c, nil, slog.New(slog.DiscardHandler))
		for _, err := range []error{err, DryRun{c}.Images()} {
			if (err == nil) != (row.why == "") || err != nil && !strings.Contains(err.Error(), row.why) {
				t.Errorf("%+v: %v", row, err)
			}
		}
		if err == nil {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

// A successor is asked in a group as runs have, where the store can't be seen: it goes by what is
// told of it.
func TestHandover_StoredImages(t *testing.T) {
	c := testConfig(t)
	c.Backends["box"] = config.Backend{Name: "box", Kind: "exec", Command: []string{"sh"}, Configured: true, Image: "stored", Limits: limitsOf()}
	in := func(all ...StoredImage) HandoverState { return HandoverState{Images: all} }
	for _, row := range []struct {
		name, why string
		g         HandoverState
	}{
		{"it is stored", "", in(StoredImage{Name: "stored", Home: "/home/agent"})},
		{"it isn't", `backends.box.image: "stored": no such image`, in(StoredImage{Name: "other", Home: "/home/agent"})},
		{"it doesn't fit", "writable of image stored is 8 GiB", in(StoredImage{Name: "stored", Home: "/home/agent", Writable: 8 << 30})},
		{"another is in both", "images.both: the store has an image of that name, too", in(StoredImage{Name: "stored", Home: "/home/agent"}, StoredImage{Name: "both", Home: "/home/agent"})},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := c
			c.Images = map[string]config.Image{}
			if strings.Contains(row.why, "both") {
				c.Images["both"] = config.Image{Rootfs: t.TempDir(), Home: "/home/agent"}
			}
			if err := Check(c, row.g); (err == nil) != (row.why == "") || err != nil && !strings.Contains(err.Error(), row.why) {
				t.Errorf("error %v, want %q", err, row.why)
			}
		})
	}
}
