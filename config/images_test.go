package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/image"
	"penstock/internal/bytesize"
)

// imagesScene has a root file system and a layout.
func imagesScene(t *testing.T) (s scene, root, layout string) {
	t.Helper()
	s = newScene(t)
	root, layout = filepath.Join(t.TempDir(), "root"), filepath.Join(t.TempDir(), "lay:out")
	for _, dir := range []string{root + "/usr", layout} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(layout, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	return s, root, layout
}

func TestImages(t *testing.T) {
	s, root, layout := imagesScene(t)
	c, err := s.load(t, "[images.a]\nrootfs = \""+root+"/\"\n[images.b-2]\noci = \""+layout+":v1\"\nhome = \"/root\"\nwritable = \"64MiB\"\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []image.Source{
		{Name: "a", Rootfs: root, Home: "/home/agent"},
		{Name: "b-2", Layout: layout, Tag: "v1", Home: "/root", Writable: 64 * bytesize.MiB},
	}
	if diff := cmp.Diff(want, c.ImageSources()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var dumped strings.Builder
	if err := c.Dump(&dumped); err != nil {
		t.Fatal(err)
	}
	again, err := s.load(t, dumped.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, &dumped)
	}
	if diff := cmp.Diff(c.Images, again.Images); diff != "" {
		t.Errorf("the dump: -want +got:\n%s", diff)
	}
	again.Images["a"] = Image{Rootfs: "/other"}
	if changed := Changed(c, again); !cmp.Equal(changed, []string{"images.a.home", "images.a.rootfs"}) {
		t.Errorf("changed: %q", changed)
	}
}

func TestImages_Bad(t *testing.T) {
	s, root, layout := imagesScene(t)
	archive := filepath.Join(root, "usr", "x.tar")
	if err := os.WriteFile(archive, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"[images.a]\n": "images.a: neither a directory nor an image layout (hint: write rootfs or oci)",
		"[images.a]\nrootfs = \"R\"\noci = \"L\"\n":          "images.a.oci: there is rootfs, too (hint: leave one of them out)",
		"[images.A]\nrootfs = \"R\"\n":                       `"A" can't be an image's name`,
		"[images.a]\nrootfs = \"etc\"\n":                     "is not absolute",
		"[images.a]\nrootfs = \"/\"\n":                       "the host's own root file system",
		"[images.a]\nrootfs = \"R/usr\"\n":                   "neither usr nor bin is in it",
		"[images.a]\nrootfs = \"R/none\"\n":                  "no such file",
		"[images.a]\noci = \"R\"\n":                          "no OCI image layout",
		"[images.a]\noci = \"R/usr/x.tar:v1\"\n":             "a file, not an OCI image layout (hint: penstock image add",
		"[images.a]\noci = \"R/none:v1\"\n":                  "(hint: skopeo copy makes one at oci:DIR:TAG)",
		"[images.a]\nrootfs = \"R\"\nhome = \"/etc\"\n":      "images.a.home: /etc would hide",
		"[images.a]\nrootfs = \"R\"\nhome = \"x\"\n":         "images.a.home: \"x\" is not absolute",
		"[images.a]\nrootfs = \"R\"\nwritable = \"0\"\n":     "images.a.writable: a run could write nothing",
		"[images.a]\nrootfs = \"R\"\nwritable = \"1TiB\"\n":  "is more than any run's memory_max",
		"[images.a]\nrootfs = \"R\"\nwriteable = \"1MiB\"\n": "did you mean writable?",
		"[images.a]\noci = 3\n":                              "want a string, not 3",
	} {
		_, err := s.load(t, strings.NewReplacer("R", root, "L\"", layout+"\"").Replace(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "images.") > 3 {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}
