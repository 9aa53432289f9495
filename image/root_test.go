package image

import (
	"bytes"
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// rootOf has files; a text "-> X" is a link to X, "dir" with a slash behind the name a directory.
func rootOf(t *testing.T, files map[string]string) Root {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		to, isLink := strings.CutPrefix(text, "-> ")
		switch {
		case isLink:
			err = os.Symlink(to, path)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(path, 0o755)
		case text == "fifo":
			err = unix.Mkfifo(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(text), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return At(dir)
}

// A link of an image leads into the image, also one that on the host would lead out.
func TestRoot_Links(t *testing.T) {
	host := t.TempDir()
	if err := os.WriteFile(filepath.Join(host, "prog"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	r := rootOf(t, map[string]string{
		"bin": "-> " + host, "usr/bin/real": "#!/usr/bin/sh\n", "usr/bin/sh": "x", "sbin": "-> /usr/bin", "up": "-> ../../../../../usr/bin/real",
		"loop": "-> loop", "opt/fifo": "fifo",
	})
	for path, ok := range map[string]bool{
		"/bin/prog": false, "/sbin/real": true, "/up": true, "/loop": false, "/opt/fifo": false, "/../../usr/bin/real": true, host + "/prog": false,
	} {
		f, err := r.Open(path)
		if (err == nil) != ok {
			t.Errorf("%s: %v", path, err)
		}
		if err == nil {
			f.Close()
		}
	}
	if at, err := r.LookPath("prog", "/bin:/usr/bin"); err == nil {
		t.Errorf("a program of the host's: %s", at)
	}
	if at, err := r.LookPath("real", "relative:/bin:/sbin"); err != nil || at != "/sbin/real" {
		t.Errorf("%s %v", at, err)
	}
	if _, err := r.LookPath("fifo", "/opt"); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Error(err)
	}
}

// copied copies a program of the host's with what it is linked to.
func copied(t *testing.T, r Root, program string) (libraries []string) {
	t.Helper()
	host := At("/")
	l := linker{root: host, seen: map[string]bool{}}
	if err := l.need(program, nil); err != nil {
		t.Skipf("this machine has no %s that is linked as usual: %v", program, err)
	}
	files := []string{program}
	for name := range l.seen {
		at, err := l.find(name, nil)
		if err != nil {
			t.Skipf("this machine has its libraries elsewhere: %v", err)
		}
		files, libraries = append(files, at), append(libraries, at)
	}
	e, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	files = append(files, interpreterOf(e))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(r.dir, f)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return libraries
}

// What a program needs is looked for as its loader would.
func TestRoot_Check(t *testing.T) {
	r := rootOf(t, map[string]string{
		"home/agent/": "", "srv/file": "x", "opt/script": "#!/usr/bin/env -S node --x\n", "opt/lost": "#!/opt/none\n", "opt/lostenv": "#!/usr/bin/env nothing\n",
		"opt/text": "hello", "opt/dos": "#!/usr/bin/env\r\n", "opt/mute": "#!\n", "opt/circle": "#!/opt/circle\n", "opt/plain": "x",
	})
	libraries := copied(t, r, "/usr/bin/env")
	if err := os.Symlink("/usr/bin/env", filepath.Join(r.dir, "usr/bin/node")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(r.dir, "opt/plain"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"A=b", "PATH=/opt:/usr/bin"}
	want := map[string]string{
		"script": "", "env": "", "/opt/script": "", "lost": "/opt/lost is a script for /opt/none: ", "lostenv": "is a script for nothing: nothing: not on the image's PATH",
		"text": "neither a script nor an ELF program", "dos": "a carriage return", "mute": "doesn't say for what", "circle": "more than 5", "none": "not on the image's PATH /opt:/usr/bin",
		"plain": "not executable", "opt/script": "not absolute", "home": "",
	}
	var programs []string
	for p := range want {
		if p != "home" {
			programs = append(programs, p)
		}
	}
	for _, f := range r.Check(env, "/home/agent", programs) {
		if w := want[f.Name]; (f.Err == nil) != (w == "") || f.Err != nil && !strings.Contains(f.Err.Error(), w) {
			t.Errorf("%s: %q %v, want %q", f.Name, f.Detail, f.Err, w)
		}
		if f.Name == "script" && f.Detail != "/opt/script, by /usr/bin/node" {
			t.Errorf("%q", f.Detail)
		}
	}
	for home, want := range map[string]string{"/home/agent": "/home/agent", "/none": "made for each run", "/srv": "don't see what the image has in it"} {
		if f := r.Check(env, home, nil)[0]; !strings.HasSuffix(f.Detail, want) {
			t.Errorf("%s: %q, want %q", home, f.Detail, want)
		}
	}
	for home, want := range map[string]string{"/srv/file": "not a directory", "/none": "", "/srv/file/x": "not a directory"} {
		f := r.Check(env, home, nil)[0]
		if (f.Err == nil) != (want == "") || f.Err != nil && !strings.Contains(f.Err.Error(), want) {
			t.Errorf("%s: %v, want %q", home, f.Err, want)
		}
	}
	if len(libraries) == 0 {
		t.Skip("this machine's env is static")
	}
	i := slices.IndexFunc(libraries, func(l string) bool { return strings.HasPrefix(filepath.Base(l), "libc.") })
	if i < 0 {
		t.Skipf("this machine's env needs no libc: %q", libraries)
	}
	libc := libraries[i]
	if err := os.Remove(filepath.Join(r.dir, libc)); err != nil {
		t.Fatal(err)
	}
	if f := r.Check(env, "/", []string{"env"})[0]; f.Err == nil || !strings.Contains(f.Err.Error(), filepath.Base(libc)+": not in the image") {
		t.Errorf("without %s: %v", libc, f.Err)
	}
}

// musl's loader is its C library, too, whatever name a program needs that by.
func TestRoot_CheckMusl(t *testing.T) {
	r := rootOf(t, nil)
	libraries := copied(t, r, "/usr/bin/env")
	libc := slices.IndexFunc(libraries, func(l string) bool { return strings.HasPrefix(filepath.Base(l), "libc.") })
	program := filepath.Join(r.dir, "usr/bin/env")
	e, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	const musl = "/lib/ld-musl-any.so.1"
	loader := interpreterOf(e)
	if libc < 0 || len(loader) < len(musl) {
		t.Skipf("this machine's env isn't linked as usual: %q", loader)
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(loader), append([]byte(musl), make([]byte, len(loader)-len(musl))...), 1)
	for name, text := range map[string][]byte{program: text, filepath.Join(r.dir, musl): nil} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, text, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(filepath.Join(r.dir, libraries[libc])); err != nil {
		t.Fatal(err)
	}
	if f := r.Check(nil, "/", []string{"env"})[0]; f.Err != nil {
		t.Error(f.Err)
	}
}

func TestRoot_CheckNoexec(t *testing.T) {
	r := rootOf(t, nil)
	if err := unix.Mount("tmpfs", r.dir, "tmpfs", unix.MS_NOEXEC, "size=64k"); err != nil {
		t.Skipf("we can mount nothing here: %v", err)
	}
	defer unix.Unmount(r.dir, unix.MNT_DETACH)
	if err := os.WriteFile(filepath.Join(r.dir, "x"), []byte("#!/x\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if f := r.Check(nil, "/", []string{"/x"})[0]; f.Err == nil || !strings.Contains(f.Err.Error(), "mounted noexec") {
		t.Error(f.Err)
	}
}

func TestCheckRootfs(t *testing.T) {
	r := rootOf(t, map[string]string{"bin": "-> usr/bin", "etc/passwd": "x"})
	for dir, ok := range map[string]bool{r.dir: true, r.dir + "/etc": false, r.dir + "/etc/passwd": false, "/": false, "/..": false, r.dir + "/none": false} {
		if err := CheckRootfs(dir); (err == nil) != ok {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// What is looked up leaves no descriptor behind: a daemon looks in images at each start of a
// run, and one that waits for the garbage collector may wait until there are none left.
func TestRoot_LeavesNoDescriptor(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	r := rootOf(t, map[string]string{"usr/bin/prog": "#!/bin/sh\n", "bin": "-> usr/bin", "opt/fifo": "fifo"})
	lookUp := func() {
		if f, err := r.Open("/bin/prog"); err != nil {
			t.Error(err)
		} else {
			f.Close()
		}
		if _, err := r.Stat("/bin/prog"); err != nil {
			t.Error(err)
		}
		for _, path := range []string{"/opt/fifo", "/none"} {
			if _, err := r.Open(path); err == nil {
				t.Errorf("%s: opened", path)
			}
		}
	}
	lookUp() // pathrs-lite keeps a handle of /proc for good
	before := descriptors(t)
	for range 20 {
		lookUp()
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors before, %d after 20 lookups", before, after)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
