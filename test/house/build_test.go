package house

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree is a directory with some of the repository's files in it, and others.
func tree(t *testing.T, copied []string, written map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, text []byte) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range copied {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		put(name, text)
	}
	for name, text := range written {
		put(name, []byte(text))
	}
	return dir
}

// output runs a program that the machine may lack, and wants its exit status to be 0, or not.
func output(t *testing.T, dir string, ok bool, environ []string, program string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("this machine lacks %s", program)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	if (err == nil) != ok {
		t.Fatalf("%s %q: %v: %s", program, args, err, out)
	}
	return string(out)
}

// A build is named by its own tree: not by a VERSION that something else exported, not by the repository in which a
// tarball was unpacked; and by its own commit also where root builds another user's clone.
func TestMake_Names(t *testing.T) {
	dir := tree(t, []string{"Makefile"}, map[string]string{"in/Makefile": "", "in/VERSION": "v1.2.3\n", "VERSION": "v1.2.3\n"})
	if err := os.Rename(filepath.Join(dir, "Makefile"), filepath.Join(dir, "in", "Makefile")); err != nil {
		t.Fatal(err)
	}
	git := func(args ...string) string {
		args = append([]string{"-c", "safe.directory=*", "-c", "user.name=x", "-c", "user.email=x@localhost"}, args...)
		return strings.TrimSpace(output(t, dir, true, nil, "git", args...))
	}
	git("init", "-q")
	git("commit", "-q", "--allow-empty", "-m", "x")
	built := func(in string) string {
		return output(t, filepath.Join(dir, in), true, []string{"VERSION=12 (bookworm)", "COMMIT=of something else"}, "make", "-n", "build")
	}
	if got := built("in"); !strings.Contains(got, "main.version=v1.2.3 ") || !strings.Contains(got, "main.commit=unknown'") {
		t.Errorf("in another repository: %s", got)
	}
	if err := os.Rename(filepath.Join(dir, "in", "Makefile"), filepath.Join(dir, "Makefile")); err != nil {
		t.Fatal(err)
	}
	want := "main.commit=" + git("rev-parse", "--short=12", "HEAD") + "'"
	if got := built("."); !strings.Contains(got, want) {
		t.Errorf("no %s: %s", want, got)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, 65534, 65534)
	}); err != nil {
		t.Fatal(err)
	}
	if got := built("."); !strings.Contains(got, want) {
		t.Errorf("of another user: no %s: %s", want, got)
	}
}

// debTree has what systemd/deb/build asks, with stand-ins for what takes long.
func debTree(t *testing.T, changelog, goList string) string {
	t.Helper()
	return tree(t, []string{"systemd/deb/build"}, map[string]string{
		"VERSION":        "v1.2.3-rc1\n",
		"CHANGELOG.md":   changelog,
		"bin/penstock":   "#!/bin/sh\n[ $1 != man ] || { mkdir -p $2/man8; echo >$2/man8/x.8; }\n",
		"bin/go":         "#!/bin/sh\n[ \"$GOWORK\" = off ] || exit 1\n[ $1 != list ] || { " + goList + "; }\n",
		"bin/tools/nfpm": "#!/bin/sh\n",
	})
}

// A newer build of what is not released is a later package: apt leaves one of the same version alone.
func TestDeb_Version(t *testing.T) {
	const released = "## v1.2.3-rc1, 2026-11-29\n\n- [BUGFIX] Old.\n"
	for changelog, want := range map[string]string{
		"# Changelog\n\n## Unreleased\n\n" + released:                           "bin/penstock_1.2.3~rc1-1_",
		"# Changelog\n\n## Unreleased\n\n- [BUGFIX] New.\n\n" + released:        "bin/penstock_1.2.3~rc1+20270115080000-1_",
		"# Changelog\n\n" + released + "\n## Unreleased\n\n- [BUGFIX] Below.\n": "bin/penstock_1.2.3~rc1+20270115080000-1_",
	} {
		dir := debTree(t, changelog, "echo 'penstock v1 .'")
		environ := []string{"GO=bin/go", "GOWORK=/above/go.work", "SOURCE_DATE_EPOCH=1800000000", "DEB_VERSION="}
		if got := output(t, dir, true, environ, "dpkg", "--print-architecture"); got == "" {
			t.Skip("this machine lacks dpkg")
		}
		if got := output(t, dir, true, environ, "sh", "systemd/deb/build"); !strings.HasPrefix(got, want) {
			t.Errorf("%q: %s, want %s...", changelog, got, want)
		}
	}
}

// A package without the licenses of what is in it must not be made.
func TestDeb_Licenses(t *testing.T) {
	dir := debTree(t, "# Changelog\n", "exit 1")
	output(t, dir, true, nil, "dpkg", "--version")
	output(t, dir, false, []string{"GO=bin/go", "DEB_VERSION=1"}, "sh", "systemd/deb/build")
}

// Two clones on one machine may lint at once, and a lock file that another user left is in nobody's way.
func TestLint_Parallel(t *testing.T) {
	linter, err := filepath.Abs(filepath.Join("..", "..", "bin", "tools", "golangci-lint"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(linter); err != nil {
		t.Skip("golangci-lint is not built here, make lint does that: ", err)
	}
	dir := t.TempDir()
	lock, err := os.Create(filepath.Join(dir, "golangci-lint.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	output(t, filepath.Join("..", ".."), true, []string{"TMPDIR=" + dir}, linter, "run", "./internal/hint")
}
