package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// imageLayout writes an OCI image layout with one image, a, of one plain layer: a file with
// a text, some more files, and two with odd modes.
func imageLayout(t *testing.T, dir, text string, files int) {
	t.Helper()
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	put := func(h tar.Header, text string) {
		t.Helper()
		h.Size = int64(len(text))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put(tar.Header{Typeflag: tar.TypeReg, Name: "etc/text", Mode: 0o644}, text)
	put(tar.Header{Typeflag: tar.TypeReg, Name: "shut/su", Mode: 0o4555}, "su")
	put(tar.Header{Typeflag: tar.TypeReg, Name: "shut/deep/none", Mode: 0, Uid: 33}, "none")
	put(tar.Header{Typeflag: tar.TypeDir, Name: "shut/deep", Mode: 0o500}, "")
	put(tar.Header{Typeflag: tar.TypeDir, Name: "shut", Mode: 0}, "")
	for i := range files {
		put(tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("many/%d", i), Mode: 0o644}, strings.Repeat("x", 100))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	blob := func(mediaType string, text []byte) map[string]any {
		sum := sha256.Sum256(text)
		name := hex.EncodeToString(sum[:])
		if err := os.WriteFile(filepath.Join(dir, "blobs", "sha256", name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		return map[string]any{"mediaType": mediaType, "digest": "sha256:" + name, "size": len(text)}
	}
	asJSON := func(what any) []byte {
		text, err := json.Marshal(what)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	described := blob("application/vnd.oci.image.layer.v1.tar", layer.Bytes())
	config := blob("application/vnd.oci.image.config.v1+json", asJSON(map[string]any{
		"os": "linux", "architecture": runtime.GOARCH, "rootfs": map[string]any{"type": "layers", "diff_ids": []any{described["digest"]}},
	}))
	manifest := blob("application/vnd.oci.image.manifest.v1+json", asJSON(map[string]any{"config": config, "layers": []any{described}}))
	manifest["annotations"] = map[string]string{"org.opencontainers.image.ref.name": "a"}
	for name, what := range map[string]any{"oci-layout": map[string]any{"imageLayoutVersion": "1.0.0"}, "index.json": map[string]any{"manifests": []any{manifest}}} {
		if err := os.WriteFile(filepath.Join(dir, name), asJSON(what), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// noExitSleep spares the second that a race detector has each program wait at its end.
const noExitSleep = "GORACE=atexit_sleep_ms=0"

// penstock runs the program, and gives what it printed.
func penstock(t *testing.T, args ...string) (string, error) {
	t.Helper()
	c := program(t, args...)
	c.Env = append(c.Env, noExitSleep)
	out, err := c.CombinedOutput()
	return string(out), err
}

// A daemon unpacks an image of its configuration in another process, asks anew what its tag
// means at each reload, and serves on with what it had where there is no such tag.
func TestImages_Daemon(t *testing.T) {
	dir := t.TempDir()
	layout, config := filepath.Join(dir, "layout"), filepath.Join(dir, "c.toml")
	imageLayout(t, layout, "first", 10)
	write := func(tag string) {
		t.Helper()
		text := fmt.Sprintf("listen = \"127.0.0.1:0\"\nstate_dir = %q\n[images.x]\noci = \"%s:%s\"\n", dir+"/state", layout, tag)
		if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("none")
	if out, err := penstock(t, "serve", "--config", config, "--isolation.self-test", "false"); err == nil || !strings.Contains(out, `images.x: `+layout+`: it has no tag "none" (hint: it has a)`) {
		t.Fatalf("a tag that isn't there: %v %s", err, out)
	}
	if out, err := penstock(t, "check", "--config", config); err == nil || !strings.Contains(out, "FAIL  image") {
		t.Errorf("check: %v %s", err, out)
	}
	write("a")
	if out, _ := penstock(t, "check", "--config", config); !strings.Contains(out, ", unpacked at the start") {
		t.Errorf("check: %s", out)
	}
	s := startServe(t, config)
	s.log.waitFor(t, `"image unpacked"`)
	listed := func() []imageRow {
		t.Helper()
		out, err := penstock(t, "image", "ls", "--json", "--config", config)
		var rows []imageRow
		if err := errors.Join(err, json.Unmarshal([]byte(out), &rows)); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return rows
	}
	first := listed()
	if len(first) != 1 || !first[0].Unpacked || !first[0].Configured || first[0].Files != 15 {
		t.Fatalf("%+v", first)
	}
	// What the configuration names is the configuration's.
	for _, args := range [][]string{{"add", "x", layout}, {"rm", "x"}} {
		if out, err := penstock(t, append([]string{"image", "--config"}, append([]string{config}, args...)...)...); err == nil {
			t.Errorf("%q: %s", args, out)
		}
		if out, err := penstock(t, append([]string{"image", args[0], "--config", config}, args[1:]...)...); err == nil || !strings.Contains(out, "onfiguration") {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}

	write("none")
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, `images not taken`)
	imageLayout(t, layout, "second", 10)
	write("a")
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, `no key changed; what the tags of images mean is looked up`)
	s.log.waitFor(t, `"image changes when it is unpacked: its runs go on with what is before"`)
	// The first goes when the second is there: nothing refers to it.
	s.log.waitFor(t, `"digests":["`+first[0].Digest+`"]`)
	eventually(t, func() bool { rows := listed(); return rows[0].Unpacked && rows[0].Digest != first[0].Digest })
	// A tag that has moved means what it meant until a reload, whatever others sweep.
	second := listed()[0].Digest
	imageLayout(t, layout, "third", 10)
	if rows := listed(); rows[0].Unpacked || rows[0].Before != second {
		t.Errorf("%+v", rows[0])
	}
	if out, err := penstock(t, "image", "ls", "--config", config); err != nil || !strings.Contains(out, "until then runs have "+second[7:19]) {
		t.Errorf("%v %s", err, out)
	}
	if out, err := penstock(t, "image", "add", "--config", config, "y", layout); err != nil || strings.Contains(out, "removed") {
		t.Errorf("%v %s", err, out)
	}
	images := filepath.Join(dir, "state", "images")
	if _, err := os.Stat(filepath.Join(images, "sha256", second[7:], "rootfs", "etc", "text")); err != nil {
		t.Errorf("what the daemon's configuration means: %v", err)
	}
	// A name of the store, too, is refused at a reload, and at the next start.
	text, err := os.ReadFile(config)
	if err == nil {
		err = os.WriteFile(config, []byte(strings.Replace(string(text), "images.x", "images.y", 1)), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	s.signal(t, syscall.SIGHUP)
	s.log.waitFor(t, `the store has an image of that name, too`)
	s.signal(t, syscall.SIGTERM)
	s.wantEnd(t, 30*time.Second)
	if out, err := penstock(t, "serve", "--config", config); err == nil || !strings.Contains(out, "images.y: the store has an image of that name, too (hint: penstock image rm y") {
		t.Errorf("%v %s", err, out)
	}
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for late := time.Now().Add(20 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("not so after 20 s")
		}
	}
}

// Root becomes the owner of the state directory: an image is the daemon's user's, can be
// added from an archive that only root can read into a directory that only root can enter,
// and stays one when systemd gives all of it to another user.
func TestImages_OtherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: files of other users")
	}
	const user, later = 12345, 12346
	top := t.TempDir()
	private := filepath.Join(top, "private") // as /var/lib/private is
	state, layout := filepath.Join(private, "state"), filepath.Join(top, "layout")
	imageLayout(t, layout, "text", 3)
	for _, d := range []string{private, state, state + ".store"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	give := func(uid int) {
		t.Helper()
		for _, d := range []string{state, state + ".store"} {
			if err := filepath.WalkDir(d, func(path string, _ fs.DirEntry, err error) error {
				return errors.Join(err, os.Lchown(path, uid, uid))
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	give(user)
	if err := os.Symlink("private/state", filepath.Join(top, "state")); err != nil {
		t.Fatal(err)
	}
	call := func(args ...string) (string, error) {
		t.Helper()
		return penstock(t, append([]string{"image", args[0], "--state-dir", filepath.Join(top, "state")}, args[1:]...)...)
	}
	if out, err := call("add", "x", layout); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	root := filepath.Join(top, "root")
	if err := errors.Join(os.MkdirAll(filepath.Join(root, "usr"), 0o755), os.WriteFile(filepath.Join(root, "usr", "x"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	if out, err := call("add", "dir", root); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(root, "usr", "secret"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := call("add", "secret", root); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("what that user can't read: %v %s", err, out)
	}
	if skopeo, err := exec.LookPath("skopeo"); err != nil {
		t.Log("this machine lacks skopeo: no archive is added")
	} else {
		archive := filepath.Join(private, "x.tar")
		if out, err := exec.Command(skopeo, "--insecure-policy", "copy", "-q", "oci:"+layout+":a", "docker-archive:"+archive+":x:1").CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		if err := os.Chmod(archive, 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := call("add", "archive", archive); err != nil {
			t.Errorf("%v %s", err, out)
		}
	}
	owned := func(uid int) {
		t.Helper()
		if err := filepath.WalkDir(state+".store", func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil && int(info.Sys().(*syscall.Stat_t).Uid) != uid {
				t.Errorf("%s: not user %d's", path, uid)
			}
			return err
		}); err != nil {
			t.Error(err)
		}
	}
	owned(user)
	give(later)
	if out, err := call("ls"); err != nil || !strings.Contains(out, "\nx ") {
		t.Errorf("%v %s", err, out)
	}
	if out, err := call("add", "again", layout); err != nil || !strings.Contains(out, "again: sha256:") {
		t.Errorf("%v %s", err, out)
	}
	owned(later)
	if out, err := call("rm", "x", "again", "dir"); err != nil {
		t.Errorf("%v %s", err, out)
	}
	if digests, err := filepath.Glob(state + ".store/images/sha256/*"); err != nil || len(digests) > 1 {
		t.Errorf("left: %v %v", digests, err)
	}
	if entries, err := os.ReadDir(state); err != nil || len(entries) > 0 {
		t.Errorf("runs' HOME has %v %v", entries, err)
	}
}

// What the daemon has started to unpack ends with it.
func TestWhileParent(t *testing.T) {
	var gone atomic.Bool
	ctx := whileParent(t.Context(), func() int {
		if gone.Load() {
			return 1
		}
		return 4711
	})
	if ctx.Err() != nil {
		t.Fatal("it ends at once")
	}
	gone.Store(true)
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Second):
		t.Error("it goes on")
	}
}

// Under the unit RestrictSUIDSGID= answers openat2 with ENOSYS, and set-ID modes with EPERM.
func TestImages_UnderTheUnit(t *testing.T) {
	dir := t.TempDir()
	imageLayout(t, filepath.Join(dir, "layout"), "text", 3)
	traced := func(args ...string) string {
		t.Helper()
		p := program(t, append([]string{"image", args[0], "--state-dir", filepath.Join(dir, "state")}, args[1:]...)...)
		c := exec.Command("strace", append([]string{"-f", "-qq", "-o", "/dev/null", "-e", "trace=openat2", "-e", "inject=openat2:error=ENOSYS", p.Path}, p.Args[1:]...)...)
		c.Env = append(p.Env, noExitSleep)
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("%v %s", err, out)
		}
		return string(out)
	}
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("this machine lacks strace")
	}
	traced("add", "x", filepath.Join(dir, "layout"))
	if out := traced("check", "x"); !strings.Contains(out, "ok    image  home") {
		t.Error(out)
	}
}

func TestSizeFlag(t *testing.T) {
	for text, want := range map[string]string{"512MiB": "", "": "", "75%": `(hint: write "512MiB" or "2G")`, "0": "more than 0", "lots": "not a size"} {
		if _, err := sizeFlag("writable", text); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// What docker's users type is answered with what it is called here, whatever flags stand there.
func TestImages_OtherNames(t *testing.T) {
	for args, want := range map[string]string{
		"list --state-dir /nowhere": "did you mean ls?", "list": "did you mean ls?", "rmi x": "did you mean rm?",
		"pull --config /nowhere x": "did you mean add?", "nothing": `unknown command "nothing"`, "ls --nothing": "unknown flag: --nothing",
	} {
		if out, err := penstock(t, append([]string{"image"}, strings.Fields(args)...)...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%s: %v %s, want %q", args, err, out, want)
		}
	}
}
