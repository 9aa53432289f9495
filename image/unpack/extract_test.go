package unpack

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"penstock/image"
)

// What layers do to those below them, byte for byte.
func layered(t *testing.T) []packed {
	t.Helper()
	setID := func(h *tar.Header) { h.Mode, h.Uid, h.Gid = 0o6755, 0, 42 }
	closed := func(h *tar.Header) { h.Mode = 0 }
	first := tarOf(t,
		dir("./", 0o755), dir("etc", 0o755), file("etc/keep", "1"), file("etc/gone", "1"), dir("opaque", 0o750), file("opaque/old", "1"),
		dir("opaque/sub", 0o755), file("opaque/sub/old", "1"), dir("bin", 0o755), file("bin/su", "su", setID), link(tar.TypeLink, "bin/su2", "bin/su"),
		link(tar.TypeSymlink, "lib", "usr/lib"), dir("dev", 0o755), device("dev/null", 1, 3), file("etc/shadow", "x", closed), dir("shut", 0o500), file("shut/in", "1"),
		entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "dev/fifo", Mode: 0o600}},
		entry{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "git archive"}}},
	)
	second := tarOf(t,
		file("etc/.wh.gone", ""), file("opaque/.wh..wh..opq", ""), file("opaque/new", "2"), file("implicit/deep/file", "2"),
		file("etc/keep", "2"), file("shut/late", "2"), file("lib/through", "2"),
	)
	return []packed{gzipped(first), plain(second), zstandard(t, tarOf(t, file("last", "3")))}
}

// want is what they make, by who makes it.
func want(uid string, root bool) map[string]string {
	own := uid + ":" + uid
	set, special := "106755 0:42 2", "020666 0:0 1:3"
	if !root {
		set, special = "106755 "+own+" 2", "100000 "+own+` 1 ""`
	}
	all := emptyFiles(uid)
	maps.Copy(all, map[string]string{
		".": "040755 " + own, "etc": "040755 " + own, "etc/keep": "100644 " + own + ` 1 "2"`, "opaque": "040750 " + own, "opaque/new": "100644 " + own + ` 1 "2"`,
		"bin": "040755 " + own, "bin/su": set + ` "su"`, "bin/su2": set + ` "su"`, "lib": "120777 " + own + " usr/lib", "dev": "040755 " + own, "dev/null": special,
		"dev/fifo": "010600 " + own, "etc/shadow": "100000 " + own + ` 1 "x"`, "shut": "040500 " + own, "shut/in": "100644 " + own + ` 1 "1"`, "shut/late": "100644 " + own + ` 1 "2"`,
		"implicit": "040755 " + own, "implicit/deep": "040755 " + own, "implicit/deep/file": "100644 " + own + ` 1 "2"`, "last": "100644 " + own + ` 1 "3"`,
		"usr": "040755 " + own, "usr/lib": "040755 " + own, "usr/lib/through": "100644 " + own + ` 1 "2"`,
	})
	return all
}

// emptyFiles are the files that are made where an image has none, by a tree's paths.
func emptyFiles(uid string) map[string]string {
	all := map[string]string{}
	for _, path := range image.Supplied() {
		all[strings.TrimPrefix(path, "/")] = "100644 " + uid + ":" + uid + ` 1 ""`
	}
	all["etc/ssl"], all["etc/ssl/certs"] = "040755 "+uid+":"+uid, "040755 "+uid+":"+uid
	return all
}

func TestAdd_Layers(t *testing.T) {
	needRoot(t)
	s := newStore(t)
	r, err := addTo(t.Context(), s, "x", layersIn(t, layered(t)...))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sorted(want("0", true)), sorted(tree(t, rootfsOf(t, s, "x")))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if r.Architecture != runtime.GOARCH || len(r.Env) != 2 || r.Without != nil || r.Files != 26 {
		t.Errorf("%+v", r)
	}
	wantEmpty(t, s)
}

// The program umoci makes the same of the same layers, as root, of links that lead out, too.
func TestAdd_AsUmoci(t *testing.T) {
	needRoot(t)
	first := tarOf(t,
		dir("etc", 0o755), file("etc/a", "1"), link(tar.TypeLink, "etc/hard", "etc/a"), link(tar.TypeSymlink, "out", "/tmp/elsewhere"), link(tar.TypeSymlink, "up", "../../../usr"),
		link(tar.TypeSymlink, "dangling", "none/at/all"), link(tar.TypeLink, "hardlink-to-link", "out"), dir("opaque", 0o755), file("opaque/old", "1"),
		dir("usr", 0o755), file("usr/f", "1"), device("dev/null", 1, 3), file("su", "su", func(h *tar.Header) { h.Mode, h.Uid, h.Gid = 0o6755, 3, 4 }),
	)
	second := tarOf(t,
		file("out/through", "2"), file("up/f", "2"), file("up/.wh.nothing", ""), file("opaque/.wh..wh..opq", ""), file("opaque/new", "2"), file("etc/a", "2"),
		file("../../above", "2"), file("/absolute", "2"), link(tar.TypeSymlink, "usr", "etc"), file("usr/in-etc", "2"), file(".wh.su", ""), file("dangling/x", "2"),
	)
	ref := layersIn(t, gzipped(first), gzipped(second))
	s := newStore(t)
	if _, err := addTo(t.Context(), s, "x", ref); err != nil {
		t.Fatal(err)
	}
	top := t.TempDir()
	command(t, top, "umoci", "unpack", "--image", ref, "bundle")
	want := tree(t, filepath.Join(top, "bundle", "rootfs"))
	maps.Copy(want, emptyFiles("0"))
	if diff := cmp.Diff(sorted(want), sorted(tree(t, rootfsOf(t, s, "x")))); diff != "" {
		t.Errorf("-umoci +penstock:\n%s", diff)
	}
}

// A run's own files have a place in a stored image, and what is a link there stays one.
func TestAdd_Placeholders(t *testing.T) {
	victim := t.TempDir()
	passwd := file("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
	for name, tt := range map[string]struct {
		layer []entry
		made  string // of what is supplied, where it is empty
		links map[string]string
	}{
		"all":                       {[]entry{file("etc/keep", "1")}, "etc/group etc/hosts etc/passwd etc/resolv.conf", nil},
		"one has it":                {[]entry{passwd}, "etc/group etc/hosts etc/resolv.conf", nil},
		"as Debian's":               {[]entry{passwd, link(tar.TypeSymlink, "etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf")}, "etc/group etc/hosts", map[string]string{"etc/resolv.conf": "../run/systemd/resolve/stub-resolv.conf"}},
		"a link out":                {[]entry{passwd, link(tar.TypeSymlink, "etc/hosts", victim+"/hosts")}, "etc/group etc/resolv.conf", map[string]string{"etc/hosts": victim + "/hosts"}},
		"a directory":               {[]entry{passwd, dir("etc/hosts", 0o755)}, "etc/group etc/resolv.conf", nil},
		"a directory that's a link": {[]entry{file("usr/etc/keep", "1"), link(tar.TypeSymlink, "etc", "usr/etc")}, "usr/etc/group usr/etc/hosts usr/etc/passwd usr/etc/resolv.conf", map[string]string{"etc": "usr/etc"}},
		"one that leads out":        {[]entry{link(tar.TypeSymlink, "etc", victim)}, "", map[string]string{"etc": victim}},
		"none":                      {[]entry{file("bin/true", "1")}, "", nil},
		"an empty one":              {[]entry{dir("etc", 0o755)}, "", nil},
		"a pipe":                    {[]entry{{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "etc", Mode: 0o644}}}, "", nil},
	} {
		s := newStore(t)
		r, err := addTo(t.Context(), s, "x", layersIn(t, gzipped(tarOf(t, tt.layer...))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var made []string
		links := map[string]string{}
		for path, what := range tree(t, rootfsOf(t, s, "x")) {
			if slices.Contains(image.Supplied(), "/etc/"+filepath.Base(path)) && strings.HasPrefix(what, "100644 ") && strings.HasSuffix(what, ` 1 ""`) {
				made = append(made, path)
			}
			if strings.HasPrefix(what, "120777 ") {
				links[path] = what[strings.LastIndexByte(what, ' ')+1:]
			}
		}
		slices.Sort(made)
		if got := strings.Join(made, " "); got != tt.made || !maps.Equal(links, tt.links) {
			t.Errorf("%s: made %q, want %q; links %v, want %v", name, got, tt.made, links, tt.links)
		}
		if r.Files != int64(len(tt.layer)) {
			t.Errorf("%s: %d entries of its layers", name, r.Files)
		}
	}
	if left, err := os.ReadDir(victim); err != nil || len(left) != 0 {
		t.Errorf("outside: %v %v", left, err)
	}
}

// A daemon that isn't root has an image of its own files, with whatever modes, and can
// remove it.
func TestAdd_Rootless(t *testing.T) {
	needRoot(t)
	top := t.TempDir()
	images := filepath.Join(top, "images")
	if err := os.Chmod(filepath.Dir(top), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(top, plainUser, plainUser); err != nil {
		t.Fatal(err)
	}
	ref := layersIn(t, layered(t)...)
	if err := addAs(t, plainUser, images, "x", ref); err != nil {
		t.Fatal(err)
	}
	// Its owner alone may open it.
	if _, err := image.OpenExisting(images); err == nil || !strings.Contains(err.Error(), "user 65534") {
		t.Errorf("root: %v", err)
	}
	names, err := filepath.Glob(filepath.Join(images, "sha256", "*", "rootfs"))
	if err != nil || len(names) != 1 {
		t.Fatalf("%v %v", names, err)
	}
	if diff := cmp.Diff(sorted(want("65534", false)), sorted(tree(t, names[0]))); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(names[0]), "image.json"))
	if err != nil || !strings.Contains(string(text), `"without": [`+"\n    \"devices\",\n    \"owners\"\n") {
		t.Errorf("%s %v", text, err)
	}
}

// What this process may not make is left out, and told: under the unit a set-ID bit can't be
// set, and a root daemon there makes no device.
func TestExtractor_Without(t *testing.T) {
	needRoot(t)
	capable := file("cap", "x", func(h *tar.Header) {
		h.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": string(noCapabilities()), "SCHILY.xattr.user.kept": "y"}
		h.Format = tar.FormatPAX
	})
	layer := tarOf(t, file("su", "su", func(h *tar.Header) { h.Mode = 0o4755 }), device("null", 1, 3), capable)
	for all, want := range map[bool][]string{true: nil, false: {withoutDevices, withoutCapabilities, withoutSetID}} {
		root := t.TempDir()
		b, err := newBudget(t.Context(), root, Limits{})
		if err != nil {
			t.Fatal(err)
		}
		x := &extractor{root: root, budget: b, rights: rights{owners: true, devices: all, setID: all, capabilities: all}}
		if _, err := x.layer(source{open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layer)), nil }}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, x.without()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		got := tree(t, root)
		if strings.HasPrefix(got["su"], "104") != all || strings.HasPrefix(got["null"], "02") != all {
			t.Errorf("%v: %v", all, got)
		}
		data := make([]byte, 64)
		if _, err := unix.Getxattr(root+"/cap", "security.capability", data); (err == nil) != all {
			t.Errorf("%v: capabilities: %v", all, err)
		}
		if _, err := unix.Getxattr(root+"/cap", "user.kept", data); err != nil && !errors.Is(err, unix.ENOTSUP) {
			t.Errorf("an attribute: %v", err)
		}
	}
}

// The rights are those of this process.
func TestProbeRights(t *testing.T) {
	rootfs := filepath.Join(t.TempDir(), "rootfs")
	may, err := probeRights(rootfs)
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 && (may.owners || may.devices || may.capabilities) {
		t.Errorf("a plain user: %+v", may)
	}
	if entries, err := os.ReadDir(filepath.Dir(rootfs)); err != nil || len(entries) > 0 {
		t.Errorf("left: %v %v", entries, err)
	}
}
