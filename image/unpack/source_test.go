package unpack

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/image"
)

// sample is an image by umoci, as tag a of a layout; b is the same with a file more.
func sample(t *testing.T) (layout string) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for name, text := range map[string]string{"etc/hostname": "sample\n", "bin/true": "#!/bin/sh\n"} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	command(t, dir, "umoci", "init", "--layout", "layout")
	for tag, files := range map[string][]string{"a": {"root /"}, "b": {"root /", "root/etc /opt"}} {
		command(t, dir, "umoci", "new", "--image", "layout:"+tag)
		for _, f := range files {
			from, to, _ := strings.Cut(f, " ")
			command(t, dir, "umoci", "insert", "--rootless", "--image", "layout:"+tag, from, to)
		}
		command(t, dir, "umoci", "config", "--image", "layout:"+tag, "--config.env", "PATH=/bin")
	}
	return filepath.Join(dir, "layout")
}

func skopeo(t *testing.T, from, to string, more ...string) {
	t.Helper()
	command(t, t.TempDir(), "skopeo", append([]string{"--insecure-policy", "copy", "-q", from, to}, more...)...)
}

// The same image by each way that it comes.
func TestAdd_Tools(t *testing.T) {
	need(t, "skopeo")
	layout := sample(t)
	top := t.TempDir()
	skopeo(t, "oci:"+layout+":a", "docker-archive:"+top+"/one.tar:example.net/team/sample:1", "--additional-tag", "example.net/team/sample:2")
	skopeo(t, "oci:"+layout+":a", "oci:"+top+"/zstd:a", "--dest-compress-format", "zstd", "--dest-compress")
	skopeo(t, "oci:"+layout+":a", "dir:"+top+"/dir", "--dest-decompress")
	skopeo(t, "dir:"+top+"/dir", "oci:"+top+"/plain:a")
	s := newStore(t)
	want := tree(t, filepath.Join(filepath.Dir(layout), "root"))
	maps.Copy(want, emptyFiles(fmt.Sprint(os.Geteuid())))
	delete(want, ".")
	for name, ref := range map[string]string{
		"layout": layout + ":a", "zstd": top + "/zstd", "plain": top + "/plain:a", "archive": top + "/one.tar", "tag": top + "/one.tar:sample:2",
		"full-tag": top + "/one.tar:example.net/team/sample:1", "directory": filepath.Join(filepath.Dir(layout), "root"),
	} {
		r, err := addTo(t.Context(), s, name, ref)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got := tree(t, rootfsOf(t, s, name))
		delete(got, ".")
		if diff := cmp.Diff(sorted(want), sorted(got)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if name != "directory" && (r.Architecture != runtime.GOARCH || fmt.Sprint(r.Env) != "[PATH=/bin]") {
			t.Errorf("%s: %+v", name, r)
		}
	}
	wantEmpty(t, s)
	if names, err := s.Names(); err != nil || len(names) != 7 {
		t.Errorf("%v %v", names, err)
	}
}

// The same as a plain user, who made the image, too.
func TestAdd_ToolsPlainUser(t *testing.T) {
	needRoot(t)
	need(t, "umoci")
	need(t, "skopeo")
	top := t.TempDir()
	if err := errors.Join(os.Chmod(filepath.Dir(top), 0o755), os.Mkdir(top+"/root", 0o755), os.Mkdir(top+"/root/usr", 0o755),
		os.WriteFile(top+"/root/usr/file", []byte("x"), 0o644), os.Chown(top, plainUser, plainUser),
		os.Chown(top+"/root", plainUser, plainUser), os.Chown(top+"/root/usr", plainUser, plainUser), os.Chown(top+"/root/usr/file", plainUser, plainUser)); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("sh", "-ec", `umoci init --layout layout; umoci new --image layout:a; umoci insert --rootless --image layout:a root /
		umoci unpack --rootless --image layout:a bundle; echo y >bundle/rootfs/usr/second; rm bundle/rootfs/usr/file; mkdir bundle/rootfs/shut
		echo z >bundle/rootfs/shut/in; chmod 0 bundle/rootfs/shut
		umoci repack --image layout:a bundle; skopeo --insecure-policy copy -q oci:layout:a docker-archive:x.tar:x:1`)
	c.Dir, c.Env = top, []string{"HOME=" + top, "PATH=" + os.Getenv("PATH"), "XDG_RUNTIME_DIR=" + top}
	c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: plainUser, Gid: plainUser}}
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for name, ref := range map[string]string{"layout": top + "/layout:a", "archive": top + "/x.tar", "directory": top + "/root"} {
		if err := addAs(t, plainUser, top+"/images", name, ref); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	roots, err := filepath.Glob(top + "/images/sha256/*/rootfs")
	if err != nil || len(roots) != 3 {
		t.Fatalf("%v %v", roots, err)
	}
	layered := 0
	for _, root := range roots {
		got := tree(t, root)
		for path, what := range got {
			if !strings.Contains(what, " 65534:65534") {
				t.Errorf("%s: %s", path, what)
			}
		}
		if _, ok := got["usr/second"]; ok && got["usr/file"] == "" && strings.HasPrefix(got["shut"], "040000 ") {
			layered++
		}
	}
	if layered != 2 {
		t.Errorf("%d of 2 have what the second layer did", layered)
	}
}

// saved merges what skopeo writes of single images, as docker save of several has it.
func saved(t *testing.T, layout string) string {
	t.Helper()
	top := t.TempDir()
	skopeo(t, "oci:"+layout+":a", "docker-archive:"+top+"/a.tar:sample:1")
	skopeo(t, "oci:"+layout+":b", "docker-archive:"+top+"/b.tar:team/other:1")
	both := filepath.Join(top, "both")
	if err := os.Mkdir(both, 0o755); err != nil {
		t.Fatal(err)
	}
	var manifests []string
	for _, name := range []string{"a.tar", "b.tar"} {
		command(t, both, "tar", "-xf", "../"+name)
		text, err := os.ReadFile(filepath.Join(both, manifest))
		if err != nil {
			t.Fatal(err)
		}
		manifests = append(manifests, strings.Trim(strings.TrimSpace(string(text)), "[]"))
	}
	// Of a file with the mode 0444 tar made another.
	_ = os.Remove(filepath.Join(both, manifest))
	if err := os.WriteFile(filepath.Join(both, manifest), []byte("["+strings.Join(manifests, ",")+"]"), 0o644); err != nil {
		t.Fatal(err)
	}
	command(t, both, "tar", "-cf", "../both.tar", ".")
	return filepath.Join(top, "both.tar")
}

func TestAdd_SeveralInOneArchive(t *testing.T) {
	need(t, "skopeo")
	archive := saved(t, sample(t))
	s := newStore(t)
	for ref, want := range map[string]string{
		archive: "2 images are in it (hint: add :TAG: ", archive + ":none": `it has no image "none" (hint: it has `, archive + ":1": "2 images are in it",
	} {
		if _, err := addTo(t.Context(), s, "x", ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", ref, err, want)
		}
	}
	for name, ref := range map[string]string{"a": archive + ":sample:1", "b": archive + ":other:1"} {
		if _, err := addTo(t.Context(), s, name, ref); err != nil {
			t.Error(err)
		}
	}
	for name, there := range map[string]bool{"a": false, "b": true} {
		if _, err := os.Stat(filepath.Join(rootfsOf(t, s, name), "opt", "hostname")); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A second digest under one name takes the place of the first, which goes when no run uses
// it any more; two names of one digest share it.
func TestAdd_NamesAndDigests(t *testing.T) {
	s := newStore(t)
	one, two := layersIn(t, plain(tarOf(t, file("f", "1")))), layersIn(t, plain(tarOf(t, file("f", "2"))))
	first, err := addTo(t.Context(), s, "x", one)
	if err != nil {
		t.Fatal(err)
	}
	use, err := s.Use(t.Context(), first.Digest)
	if err != nil {
		t.Fatal(err)
	}
	second, err := addTo(t.Context(), s, "x", two)
	if err != nil || second.Digest == first.Digest {
		t.Fatalf("%v %v", second, err)
	}
	if n, err := s.Name("x"); err != nil || n.Digest != second.Digest {
		t.Errorf("%v %v", n, err)
	}
	if swept, err := s.Sweep(t.Context(), image.Refs{}); err != nil || len(swept.Digests) > 0 {
		t.Errorf("while it is used: %v %v", swept, err)
	}
	if text, err := os.ReadFile(filepath.Join(use.Rootfs, "f")); err != nil || string(text) != "1" {
		t.Errorf("%q %v", text, err)
	}
	if err := use.Close(); err != nil {
		t.Fatal(err)
	}
	if swept, err := s.Sweep(t.Context(), image.Refs{}); err != nil || len(swept.Digests) != 1 || swept.Digests[0] != first.Digest {
		t.Errorf("after it was used: %v %v", swept, err)
	}
	begun := time.Now()
	if again, err := addTo(t.Context(), s, "y", two); err != nil || !again.Unpacked.Equal(second.Unpacked) {
		t.Errorf("%v %v after %s", again, err, time.Since(begun))
	}
	if digest, kept, err := s.Remove(t.Context(), "x", image.Refs{}); err != nil || kept == "" || digest != second.Digest {
		t.Errorf("%q %v: the other name has it", kept, err)
	}
	if _, kept, err := s.Remove(t.Context(), "y", image.Refs{}); err != nil || kept != "" {
		t.Errorf("%q %v", kept, err)
	}
	wantEmpty(t, s)
}

// Some tools write zeros behind a gzip stream.
func TestAdd_PaddedGzip(t *testing.T) {
	layer := gzipped(tarOf(t, file("f", "1")))
	layer.blob = append(layer.blob, make([]byte, 512)...)
	if _, err := addTo(t.Context(), newStore(t), "x", layersIn(t, layer)); err != nil {
		t.Error(err)
	}
}

// What isn't what its digest says is no image.
func TestAdd_Damaged(t *testing.T) {
	layer := gzipped(tarOf(t, file("f", "1")))
	other := layer
	other.diff = tarOf(t, file("f", "2"))
	cut := layer
	cut.blob = layer.blob[:len(layer.blob)/2]
	tests := map[string]struct {
		ref  func() string
		want string
	}{
		"another tar":      {func() string { return layersIn(t, other) }, "damaged, or another's"},
		"cut":              {func() string { return layersIn(t, cut) }, "unexpected EOF"},
		"no gzip":          {func() string { return layersIn(t, packed{ociLayer + "+gzip", layer.diff, layer.diff}) }, "gzip: invalid header"},
		"no zstd":          {func() string { return layersIn(t, packed{ociLayer + "+zstd", layer.diff, layer.blob}) }, "magic number"},
		"packed unsaid":    {func() string { return layersIn(t, packed{ociLayer, layer.diff, layer.blob}) }, "tar"},
		"unknown packing":  {func() string { return layersIn(t, packed{ociLayer + "+bzip2", layer.diff, layer.blob}) }, `media type "application/vnd.oci.image.layer.v1.tar+bzip2" can't be unpacked (hint: `},
		"encrypted":        {func() string { return layersIn(t, packed{ociLayer + "+gzip+encrypted", layer.diff, layer.blob}) }, "can't be unpacked"},
		"other's platform": {func() string { l := newLayout(t); return l.tagged("a", l.manifest("s390x", layer)).dir }, "for linux/s390x, and this host is linux/" + runtime.GOARCH},
		"changed blob": {func() string {
			ref := layersIn(t, layer)
			blobs, err := filepath.Glob(strings.TrimSuffix(ref, ":a") + "/blobs/sha256/*")
			if err != nil {
				t.Fatal(err)
			}
			for _, blob := range blobs {
				if text, err := os.ReadFile(blob); err == nil && bytes.Contains(text, []byte("layers")) {
					_ = os.WriteFile(blob, append(text, ' '), 0o644)
				}
			}
			return ref
		}, "damaged, or another's"},
		"nothing": {func() string { return filepath.Join(t.TempDir(), "none") }, "nothing is pulled"},
		"no root": {func() string { return t.TempDir() }, "no root file system"},
		"a socket": {func() string {
			dir := t.TempDir()
			l, err := net.Listen("unix", filepath.Join(dir, "agent"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			if err := os.Mkdir(filepath.Join(dir, "usr"), 0o755); err != nil {
				t.Fatal(err)
			}
			return dir
		}, " -type s shows them"},
		"the host's":     {func() string { return "/" }, "/: it is the host's own root file system"},
		"a device":       {func() string { return "/dev/null" }, "neither a file nor a directory"},
		"no archive":     {func() string { return written(t, tarOf(t, file("etc/passwd", "x"))) }, "no archive of docker save"},
		"compressed":     {func() string { return written(t, layer.blob) }, "a compressed file"},
		"layout archive": {func() string { return written(t, tarOf(t, file("oci-layout", "{}"))) }, "an archive of an OCI image layout (hint: mkdir DIR"},
		"no tar":         {func() string { return written(t, bytes.Repeat([]byte("x"), 2000)) }, "read tar"},
		"no config":      {func() string { return written(t, tarOf(t, file(manifest, `[{"Config":"c.json"}]`))) }, `it has no "c.json"`},
		"config a link": {func() string {
			return written(t, tarOf(t, file(manifest, `[{"Config":"c.json"}]`), link('2', "c.json", "/etc/passwd")))
		}, "no regular file"},
		"large config": {func() string {
			return written(t, tarOf(t, file(manifest, `[{"Config":"c.json"}]`), file("c.json", strings.Repeat(" ", 5<<20))))
		}, "more than the 4 MiB"},
		"no layer": {func() string {
			return written(t, tarOf(t, file(manifest, `[{"Config":"c.json","Layers":["l"]}]`), file("c.json", `{"rootfs":{"diff_ids":["sha256:`+strings.Repeat("0", 64)+`"]}}`)))
		}, "not found"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			_, err := addTo(t.Context(), s, "x", tt.ref())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), "/proc/self/fd") {
				t.Errorf("it tells of a descriptor: %v", err)
			}
			wantEmpty(t, s)
		})
	}
}

func written(t *testing.T, text []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.tar")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// A directory in which something is mounted is not all there is to see.
func TestAdd_Mounts(t *testing.T) {
	needRoot(t)
	root := t.TempDir()
	for _, name := range []string{"usr", "proc"} {
		if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("tmpfs", filepath.Join(root, "proc"), "tmpfs", 0, "size=4k"); err != nil {
		t.Skipf("this machine lets us mount nothing: %v", err)
	}
	defer unix.Unmount(filepath.Join(root, "proc"), unix.MNT_DETACH)
	s := newStore(t)
	if _, err := addTo(context.Background(), s, "x", root); err == nil || !strings.Contains(err.Error(), filepath.Join(root, "proc")+" (hint: umount them)") {
		t.Error(err)
	}
}

// What docker save writes: of Debian 12 (20.10) a directory for each layer, a second time
// as a link; from 25 on an OCI layout with a manifest beside it. An image without a name
// has no tags.
func TestAdd_DockerSave(t *testing.T) {
	base, top := tarOf(t, file("base", "1")), tarOf(t, file("top", "2"))
	config := func(layers ...[]byte) []byte {
		var diffs []string
		for _, l := range layers {
			diffs = append(diffs, fmt.Sprintf("sha256:%x", sha256.Sum256(l)))
		}
		text, err := json.Marshal(map[string]any{
			"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Env": []string{"PATH=/bin"}}, "rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
		})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	one, two := config(base), config(base, top)
	archives := map[string][]entry{
		"20.10": {
			file("one.json", string(one)), file("two.json", string(two)), dir("l1", 0o755), file("l1/VERSION", "1.0"), file("l1/json", "{}"), file("l1/layer.tar", string(base)),
			link(tar.TypeSymlink, "l2/layer.tar", "../l1/layer.tar"), file("l3/layer.tar", string(top)),
			file(manifest, `[{"Config":"one.json","RepoTags":["one:latest","also/one:1"],"Layers":["l1/layer.tar"]},{"Config":"two.json","RepoTags":["two:latest"],"Layers":["l2/layer.tar","l3/layer.tar"]}]`),
			file("repositories", "{}"),
		},
		"25": {
			file("blobs/sha256/one", string(one)), file("blobs/sha256/two", string(two)), file("blobs/sha256/base", string(base)), file("blobs/sha256/top", string(top)),
			file("index.json", "{}"), file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`),
			file(manifest, `[{"Config":"blobs/sha256/one","RepoTags":["one:latest"],"Layers":["blobs/sha256/base"]},{"Config":"blobs/sha256/two","RepoTags":["two:latest"],"Layers":["blobs/sha256/base","blobs/sha256/top"]}]`),
		},
		"packed": {
			file("two", string(two)), file("base", string(gzipped(base).blob)), file("top", string(zstandard(t, top).blob)),
			file(manifest, `[{"Config":"two","RepoTags":["two:latest"],"Layers":["base","top"]}]`),
		},
		"the second packed": {
			file("two", string(two)), file("base", string(base)), file("top", string(gzipped(top).blob)),
			file(manifest, `[{"Config":"two","RepoTags":["two:latest"],"Layers":["base","top"]}]`),
		},
		"the second packed by zstd": {
			file("two", string(two)), file("base", string(base)), file("top", string(zstandard(t, top).blob)),
			file(manifest, `[{"Config":"two","RepoTags":["two:latest"],"Layers":["base","top"]}]`),
		},
		"the first packed": {
			file("two", string(two)), file("base", string(gzipped(base).blob)), file("top", string(top)),
			file(manifest, `[{"Config":"two","RepoTags":["two:latest"],"Layers":["base","top"]}]`),
		},
		"unnamed": {
			file("two", string(two)), file("base", string(base)), file("top", string(top)), file(manifest, `[{"Config":"two","RepoTags":null,"Layers":["base","top"]}]`),
		},
	}
	for name, entries := range archives {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			archive := written(t, tarOf(t, entries...))
			ref := archive + ":two:latest"
			if name == "unnamed" {
				ref = archive
			}
			r, err := addTo(t.Context(), s, "two", ref)
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("sha256:%x", sha256.Sum256(two)); r.Digest != want || fmt.Sprint(r.Env) != "[PATH=/bin]" {
				t.Errorf("%+v, want the digest %s", r, want)
			}
			got := tree(t, rootfsOf(t, s, "two"))
			if len(got) != 3 || !strings.Contains(got["base"], `"1"`) || !strings.Contains(got["top"], `"2"`) {
				t.Errorf("%v", got)
			}
		})
	}
}
