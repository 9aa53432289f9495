package unpack

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"penstock/image"
)

// plainUser is who the tests are that are not root.
const plainUser = 65534

// addCommand, in the environment, makes the test binary an add as another process.
const addCommand = "PENSTOCK_TEST_ADD"

func TestMain(m *testing.M) {
	if words := strings.Fields(os.Getenv(addCommand)); len(words) == 3 {
		s, err := image.Open(words[0])
		if err == nil {
			_, err = addTo(context.Background(), s, words[1], words[2])
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// addTo is what penstock image add does.
func addTo(ctx context.Context, s *image.Store, name, ref string) (image.Record, error) {
	return addWithin(ctx, s, name, ref, Limits{})
}

func addWithin(ctx context.Context, s *image.Store, name, ref string, l Limits) (image.Record, error) {
	o, err := Open(ref)
	if err != nil {
		return image.Record{}, err
	}
	src, err := o.Read()
	if err != nil {
		return image.Record{}, err
	}
	return Add(ctx, s, src, &image.Name{Name: name, Source: ref}, l)
}

// addAs adds in a process of another user, whose the store's directory is to be.
func addAs(t *testing.T, uid int, dir, name, ref string) error {
	t.Helper()
	c := exec.Command("/proc/self/exe")
	c.Env = []string{addCommand + "=" + dir + " " + name + " " + ref}
	if uid != os.Geteuid() {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func newStore(t *testing.T) *image.Store {
	t.Helper()
	s, err := image.Open(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// needRoot skips where the machine doesn't let us be root.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other users, devices")
	}
}

// need skips where the machine lacks a program.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("this machine lacks %s", program)
	}
}

func command(t *testing.T, dir, program string, args ...string) string {
	t.Helper()
	need(t, program)
	c := exec.Command(program, args...)
	c.Dir = dir
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return string(out)
}

// entry is one of a layer.
type entry struct {
	tar.Header
	text string
}

func file(name, text string, change ...func(*tar.Header)) entry {
	h := tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(text))}
	for _, c := range change {
		c(&h)
	}
	return entry{h, text}
}

func dir(name string, mode int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}

func link(kind byte, name, to string) entry {
	return entry{Header: tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o777}}
}

func device(name string, major, minor int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: name, Mode: 0o666, Devmajor: major, Devminor: minor}}
}

// tarOf is a layer.
func tarOf(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const ociLayer = "application/vnd.oci.image.layer.v1.tar"

// packed is a layer in a layout.
type packed struct {
	mediaType string
	diff      []byte // what its digest is of
	blob      []byte
}

func plain(diff []byte) packed { return packed{ociLayer, diff, diff} }

func gzipped(diff []byte) packed {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(diff) // a buffer takes all
	_ = w.Close()
	return packed{ociLayer + "+gzip", diff, b.Bytes()}
}

func zstandard(t *testing.T, diff []byte) packed {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return packed{ociLayer + "+zstd", diff, w.EncodeAll(diff, nil)}
}

// layout is an OCI image layout that a test makes.
type layout struct {
	t         *testing.T
	dir       string
	manifests []map[string]any
}

func newLayout(t *testing.T) *layout {
	t.Helper()
	l := &layout{t: t, dir: filepath.Join(t.TempDir(), "layout")}
	if err := os.MkdirAll(filepath.Join(l.dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	l.write("oci-layout", map[string]any{"imageLayoutVersion": "1.0.0"})
	return l
}

func (l *layout) write(name string, what any) {
	l.t.Helper()
	text, err := json.Marshal(what)
	if err == nil {
		err = os.WriteFile(filepath.Join(l.dir, name), text, 0o644)
	}
	if err != nil {
		l.t.Fatal(err)
	}
}

// blob stores one, and describes it.
func (l *layout) blob(mediaType string, text []byte) map[string]any {
	l.t.Helper()
	sum := sha256.Sum256(text)
	name := hex.EncodeToString(sum[:])
	if err := os.WriteFile(filepath.Join(l.dir, "blobs", "sha256", name), text, 0o644); err != nil {
		l.t.Fatal(err)
	}
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(text)}
}

func (l *layout) json(mediaType string, what any) map[string]any {
	l.t.Helper()
	text, err := json.Marshal(what)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.blob(mediaType, text)
}

// manifest describes an image of these layers.
func (l *layout) manifest(arch string, layers ...packed) map[string]any {
	l.t.Helper()
	var diffs []string
	described := []map[string]any{}
	for _, p := range layers {
		sum := sha256.Sum256(p.diff)
		diffs = append(diffs, "sha256:"+hex.EncodeToString(sum[:]))
		described = append(described, l.blob(p.mediaType, p.blob))
	}
	config := l.json("application/vnd.oci.image.config.v1+json", map[string]any{
		"os": "linux", "architecture": arch, "config": map[string]any{"Env": []string{"PATH=/opt/bin:/bin", "A=b"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	return l.json("application/vnd.oci.image.manifest.v1+json", map[string]any{
		"schemaVersion": 2, "config": config, "layers": described,
	})
}

// tagged gives a tag to what is described.
func (l *layout) tagged(tag string, d map[string]any) *layout {
	l.t.Helper()
	d["annotations"] = map[string]any{"org.opencontainers.image.ref.name": tag}
	l.manifests = append(l.manifests, d)
	l.write("index.json", map[string]any{"schemaVersion": 2, "manifests": l.manifests})
	return l
}

// layersIn is a layout with one image, a, of layers.
func layersIn(t *testing.T, layers ...packed) string {
	t.Helper()
	l := newLayout(t)
	l.tagged("a", l.manifest(runtime.GOARCH, layers...))
	return l.dir + ":a"
}

// tree is what lies below a directory: each path with its type, mode, owner, links and content.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var is unix.Stat_t
		if err := unix.Lstat(path, &is); err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("%06o %d:%d", is.Mode, is.Uid, is.Gid)
		switch is.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			text, err := os.ReadFile(path)
			if err != nil && os.Geteuid() == 0 {
				return err
			}
			what += fmt.Sprintf(" %d %q", is.Nlink, text)
		case unix.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			what += " " + to
		case unix.S_IFCHR:
			what += fmt.Sprintf(" %d:%d", unix.Major(is.Rdev), unix.Minor(is.Rdev))
		}
		found[rel] = what
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// rootfsOf is the root file system of a name.
func rootfsOf(t *testing.T, s *image.Store, name string) string {
	t.Helper()
	n, err := s.Name(name)
	if err != nil {
		t.Fatal(err)
	}
	path, err := s.Rootfs(n.Digest)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// wantEmpty holds that nothing is left of what was interrupted or failed.
func wantEmpty(t *testing.T, s *image.Store) {
	t.Helper()
	for _, name := range []string{"new", "trash"} {
		entries, err := os.ReadDir(filepath.Join(s.Path(), name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if len(entries) > 0 {
			t.Errorf("%s: left: %v", name, entries)
		}
	}
}

func sorted(m map[string]string) []string {
	var all []string
	for k, v := range m {
		all = append(all, k+" "+v)
	}
	slices.Sort(all)
	return all
}
