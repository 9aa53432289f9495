package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// lay is a layout that a test writes.
type lay struct {
	t     *testing.T
	dir   string
	index []any
}

func newLay(t *testing.T) *lay {
	t.Helper()
	l := &lay{t: t, dir: t.TempDir()}
	if err := os.MkdirAll(filepath.Join(l.dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.put("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	l.put("index.json", `{"manifests":[]}`)
	return l
}

func (l *lay) put(name, text string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

type described map[string]any

// with adds to a descriptor.
func (d described) with(key string, value any) described {
	more := described{key: value}
	for k, v := range d {
		more[k] = v
	}
	return more
}

func (d described) digest() string { return d["digest"].(string) }

func (l *lay) blob(mediaType string, what any) described {
	l.t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		l.t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	l.put("blobs/sha256/"+name, string(text))
	return described{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(text)}
}

const (
	ociManifest = "application/vnd.oci.image.manifest.v1+json"
	ociIndex    = "application/vnd.oci.image.index.v1+json"
	ociConfig   = "application/vnd.oci.image.config.v1+json"
)

// image is one without layers; mark makes it another.
func (l *lay) image(arch, mark string) described {
	config := l.blob(ociConfig, map[string]any{"os": "linux", "architecture": arch, "author": mark, "rootfs": map[string]any{"type": "layers"}})
	return l.blob(ociManifest, map[string]any{"config": config, "layers": []any{}})
}

func (l *lay) of(mediaType string, manifests ...described) described {
	return l.blob(mediaType, map[string]any{"manifests": manifests})
}

// tag names what is described; of "" it has no name.
func (l *lay) tag(name string, d described) {
	l.t.Helper()
	if name != "" {
		d = d.with("annotations", map[string]string{refName: name})
	}
	l.index = append(l.index, d)
	text, err := json.Marshal(map[string]any{"manifests": l.index})
	if err != nil {
		l.t.Fatal(err)
	}
	l.put("index.json", string(text))
}

func platform(os, arch, variant string) map[string]string {
	return map[string]string{"os": os, "architecture": arch, "variant": variant}
}

func (l *lay) resolve(tag, arch string) (Found, error) {
	l.t.Helper()
	o, err := OpenLayout(l.dir)
	if err != nil {
		return Found{}, err
	}
	return o.resolve(tag, arch)
}

// The image of this architecture is chosen, attestations and artifacts are none.
func TestLayout_Resolve(t *testing.T) {
	l := newLay(t)
	amd, arm, v3 := l.image("amd64", "1"), l.image("arm64", "1"), l.image("amd64", "v3")
	attested := l.image("amd64", "attestation").with("annotations", map[string]string{attestation: "attestation-manifest"}).with("platform", platform("unknown", "unknown", ""))
	artifact := l.image("amd64", "artifact").with("artifactType", "application/example")
	many := l.of(ociIndex, attested, arm.with("platform", platform("linux", "arm64", "v8")), v3.with("platform", platform("linux", "amd64", "v3")), amd.with("platform", platform("linux", "amd64", "")), artifact)
	l.tag("many", many)
	l.tag("nested", l.of(ociIndex, l.of(dockerList, many)))
	l.tag("bare", arm)
	l.tag("twice", amd)
	l.tag("windows", amd.with("platform", platform("windows", "amd64", "")))
	l.tag("unknown", described{"mediaType": "application/example", "digest": amd.digest(), "size": amd["size"]})
	l.tag("artifact", l.blob(ociManifest, map[string]any{"config": l.blob("application/vnd.oci.empty.v1+json", map[string]any{}), "layers": []any{}}))
	deep := many
	for range 6 {
		deep = l.of(ociIndex, deep)
	}
	l.tag("deep", deep)
	var wide []described
	for range 4200 {
		wide = append(wide, arm.with("platform", platform("linux", "arm64", "")))
	}
	l.tag("wide", l.of(ociIndex, wide...))
	for _, tt := range []struct{ tag, arch, digest, want string }{
		{"many", "amd64", amd.digest(), ""},
		{"many", "arm64", arm.digest(), ""},
		{"many", "s390x", "", "for linux/amd64, linux/amd64/v3, linux/arm64/v8, and this host is linux/s390x"},
		{"nested", "amd64", amd.digest(), ""},
		{"bare", "arm64", arm.digest(), ""},
		{"bare", "amd64", "", "for linux/arm64, and this host is linux/amd64"},
		{"windows", "amd64", "", "for windows/amd64"},
		{"none", "amd64", "", `it has no tag "none" (hint: it has `},
		{"unknown", "amd64", "", `media type "application/example" is not known`},
		{"artifact", "amd64", "", `no image: its configuration is of media type "application/vnd.oci.empty.v1+json"`},
		{"deep", "amd64", "", "more than 4 deep"},
		{"wide", "amd64", "", "more than 4096 manifests"},
	} {
		found, err := l.resolve(tt.tag, tt.arch)
		if (err == nil) != (tt.digest != "") || found.Digest != tt.digest || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %s: %s %v, want %s %s", tt.tag, tt.arch, found.Digest, err, tt.digest, tt.want)
		}
	}
}

// Without a tag it must be the only one.
func TestLayout_Only(t *testing.T) {
	l := newLay(t)
	if _, err := l.resolve("", "amd64"); err == nil {
		t.Error("an empty layout has an image")
	}
	d := l.image("amd64", "1")
	l.tag("a", d)
	l.tag("b", d) // the same by two names
	l.tag("", l.image("amd64", "2").with("annotations", map[string]string{attestation: "x"}))
	l.tag("", l.image("arm64", "3"))
	l.tag("", described{"mediaType": "application/example", "digest": d.digest(), "size": d["size"]})
	if found, err := l.resolve("", "amd64"); err != nil || found.Digest != d.digest() {
		t.Errorf("%s %v", found.Digest, err)
	}
	l.tag("c", l.image("amd64", "2"))
	if _, err := l.resolve("", "amd64"); err == nil || !strings.Contains(err.Error(), "several images: 2 (hint: add :TAG: a, b, c)") {
		t.Error(err)
	}
}

func TestLayout_Damaged(t *testing.T) {
	l := newLay(t)
	d := l.image("amd64", "1")
	l.tag("a", d)
	blob := "blobs/sha256/" + d.digest()[7:]
	text, err := os.ReadFile(filepath.Join(l.dir, blob))
	if err != nil {
		t.Fatal(err)
	}
	want := func(what, want string) {
		t.Helper()
		if _, err := l.resolve("a", "amd64"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	l.put(blob, strings.Replace(string(text), "config", "konfig", 1))
	want("changed", "damaged, or another's")
	l.put(blob, string(text)+" ")
	want("longer", "damaged, or another's")
	if err := os.Truncate(filepath.Join(l.dir, blob), 5<<20); err != nil {
		t.Fatal(err)
	}
	want("large", "more than the 4 MiB")
	l.put("index.json", "{")
	want("index", "index.json: ")
	l.put("index.json", `{"manifests":[{"mediaType":"`+ociManifest+`","digest":"sha256:../../../etc/passwd","size":1,"annotations":{"`+refName+`":"a"}}]}`)
	want("digest", "is no sha256 digest")
	l.put("oci-layout", `{"imageLayoutVersion":"2.0.0"}`)
	want("version", "version \"2.0.0\"")
	if err := os.Remove(filepath.Join(l.dir, "oci-layout")); err != nil {
		t.Fatal(err)
	}
	want("none", "no OCI image layout")
}

// What is found out about an image is found out in the daemon: who writes the layout has a bound
// of its memory and of its time.
func TestLayout_Bounds(t *testing.T) {
	l := newLay(t)
	l.put("index.json", `{"manifests":[{}`+strings.Repeat(",{}", partsMost)+`]}`)
	if _, err := l.resolve("", runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "more than 65536 parts") {
		t.Errorf("many parts: %v", err)
	}
	below := l.blob(ociIndex, map[string]any{"manifests": []any{}, "annotations": map[string]string{"x": strings.Repeat("x", textMost-100)}})
	l.index = nil
	for range roomMost/textMost + 1 {
		l.tag("v1", below)
	}
	if _, err := l.resolve("v1", runtime.GOARCH); err == nil || !strings.Contains(err.Error(), "more than 64 MiB of indexes") {
		t.Errorf("many indexes: %v", err)
	}
}

func TestSplitRef(t *testing.T) {
	dir := t.TempDir()
	odd := filepath.Join(dir, "a:b")
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string][2]string{
		dir: {dir, ""}, dir + ":tag": {dir, "tag"}, odd: {odd, ""}, odd + ":v1": {odd, "v1"}, dir + ":reg/x:1": {dir, "reg/x:1"},
		"/none:v1": {"/none", "v1"}, "/none:v1/x": {"/none:v1/x", ""}, "/none": {"/none", ""},
	} {
		if path, tag := SplitRef(ref); path != want[0] || tag != want[1] {
			t.Errorf("%s: %q %q", ref, path, tag)
		}
	}
}

func TestCheckPlatform(t *testing.T) {
	if err := CheckPlatform("linux", runtime.GOARCH, ""); err != nil {
		t.Error(err)
	}
	if err := CheckPlatform("", "", ""); err != nil {
		t.Error(err)
	}
	if err := CheckPlatform("linux", "pdp11", ""); err == nil {
		t.Error("a pdp11's is taken")
	}
}
