// Package house holds the rules of the house as tests.
//
//	house_test.go   which package may import which, start a process, touch the cgroup tree; no init, no panic
//	sizes_test.go   how long a file is, how many a directory has, a picture per package
//	words_test.go   names that are not to grow back
//	docs_test.go    links of the handbook, the rooms of docs/design.md
//	mutants_test.go mutants apply, and their tests are there
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "penstock/"

// floor is a package's place in the house; imports may only point to a lower one.
// The numbers leave room for a wall between two of them.
var floor = map[string]int{
	"internal/backoff":      5,
	"internal/hint":         5,
	"internal/hostinfo":     5,
	"internal/memfd":        5,
	"internal/peercred":     5,
	"internal/procinfo":     5,
	"cgroup/cgroupfs":       6,
	"internal/bytesize":     6,
	"internal/egress":       6,
	"systemd/scope":         7,
	"cgroup/root":           8,
	"cgroup":                10,
	"internal/atomicfile":   10,
	"internal/openat":       10,
	"server/openapi":        10,
	"server/ui":             10,
	"internal/trash":        14,
	"backend/schema":        14,
	"outcome":               15,
	"run/history":           16,
	"image":                 16,
	"image/unpack":          17,
	"sandbox":               17,
	"sandbox/bubblewrap":    17,
	"sandbox/pid1":          18,
	"sandbox/bundle":        19,
	"backend":               20,
	"spawn":                 20,
	"backend/parse":         21,
	"backend/jsonrpc":       22,
	"backend/provider":      22,
	"backend/claude":        23,
	"backend/codex":         23,
	"backend/pi":            23,
	"backend/program":       23,
	"backend/acp":           24,
	"backend/structured":    24,
	"backend/gemini":        25,
	"backend/kinds":         26,
	"spool":                 25,
	"run/store":             28,
	"run/inimage":           29,
	"run/sessions":          29,
	"admit":                 30,
	"config":                30,
	"run":                   30,
	"client":                40,
	"metrics":               40,
	"systemd":               40,
	"server/listener":       42,
	"server/web":            44,
	"server/media":          45,
	"server/dialect":        46,
	"server/anthropic":      47,
	"server/openai":         47,
	"server/answer":         48,
	"server/conversation":   49,
	"server/health":         48,
	"server/translate":      48,
	"server":                50,
	"cmd/penstock/demo":     55,
	"cmd/penstock/manual":   55,
	"cmd/penstock/process1": 55,
	"cmd/penstock/terminal": 55,
	"cmd/penstock/check":    57,
	"cmd/penstock":          60,
	"cmd/process1":          60,
}

type source struct {
	path string // slash separated, from the repository's root
	pkg  string
	file *ast.File
	text string
}

// sources parses every shipped Go file: what tests and tools are made of is left out.
func sources(t *testing.T) []source {
	t.Helper()
	return parsed(t, ".", func(rel string) bool {
		ofTests := strings.HasPrefix(rel, "internal/") && strings.HasSuffix(rel, "test")
		return rel == "test" || rel == "bin" || rel == "tools" || ofTests
	})
}

// modules are the Go files of the modules test and tools, tests included.
func modules(t *testing.T) []source {
	t.Helper()
	none := func(string) bool { return false }
	return append(parsed(t, "test", none), parsed(t, "tools", none)...)
}

// parsed are the files below dir, without the directories that skip names; of
// the root module without its tests.
func parsed(t *testing.T, dir string, skip func(rel string) bool) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(filepath.Join(root, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			if skip(rel) || d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && d.Name() != "." && d.Name() != ".." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || dir == "." && strings.HasSuffix(rel, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{path: rel, pkg: filepath.ToSlash(filepath.Dir(rel)), file: file, text: string(text)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 5 {
		t.Fatalf("found only %d source files in %s: the walk is wrong", len(all), dir)
	}
	return all
}

func imports(f *ast.File) []string {
	var out []string
	for _, spec := range f.Imports {
		out = append(out, strings.Trim(spec.Path.Value, `"`))
	}
	return out
}

func TestDependenciesPointDown(t *testing.T) {
	for _, s := range sources(t) {
		own, ok := floor[s.pkg]
		if !ok {
			t.Errorf("%s: package %s has no floor: add it to the table", s.path, s.pkg)
		}
		for _, imp := range imports(s.file) {
			below, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			if floor[below] == 0 || floor[below] >= own {
				t.Errorf("%s (floor %d) imports %s (floor %d)", s.path, own, imp, floor[below])
			}
			if s.pkg == "server" && below == "cgroup" {
				t.Errorf("%s: server knows no cgroup", s.path)
			}
		}
	}
}

// What process 1 of a run in an image is made of, it makes at the start of each.
func TestProcess1IsSmall(t *testing.T) {
	c := exec.Command("go", "list", "-deps", "./cmd/process1")
	c.Dir, c.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	out, err := c.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, imp := range strings.Fields(string(out)) {
		if slices.Contains([]string{"net", "regexp", "net/http", "crypto/tls", "debug/elf"}, imp) || strings.HasPrefix(imp, "github.com/prometheus/") {
			t.Errorf("cmd/process1 imports %s, which costs each run", imp)
		}
	}
}

func TestOnlyOneRoomDoesIt(t *testing.T) {
	rules := []struct {
		imp   string
		rooms []string
	}{
		{"os/exec", []string{"spawn/", "cmd/penstock/demo/"}},
		{"github.com/prometheus/client_golang", []string{"metrics/"}},
		{"github.com/containerd/cgroups", []string{"cgroup/"}},
		{"github.com/gorilla/mux", []string{"server/"}},
		{"github.com/santhosh-tekuri/jsonschema", []string{"backend/schema/"}},
		{"github.com/spf13/cobra", []string{"cmd/"}},
		{"github.com/coreos/go-systemd", []string{"systemd/"}},
		{"github.com/godbus/dbus", []string{"systemd/scope/"}},
		{"github.com/opencontainers/umoci", []string{"image/unpack/"}},
		{"github.com/google/go-containerregistry", []string{"image/unpack/"}},
		{"penstock/image/unpack", []string{"cmd/penstock/"}},
	}
	for _, s := range sources(t) {
		for _, rule := range rules {
			for _, imp := range imports(s.file) {
				if strings.HasPrefix(imp, rule.imp) && !within(s.path, rule.rooms) {
					t.Errorf("%s imports %s, which belongs to %v", s.path, imp, rule.rooms)
				}
			}
		}
		if strings.Contains(s.text, "/sys/fs/cgroup") && !strings.HasPrefix(s.path, "cgroup/") {
			t.Errorf("%s names the cgroup file system, which belongs to cgroup/", s.path)
		}
		if (strings.Contains(s.text, "sandbox.OpenLauncher(") || strings.Contains(s.text, "sandbox.OpenMountingLauncher(")) && !strings.HasPrefix(s.path, "spawn/") {
			t.Errorf("%s opens a launcher: spawn/ alone starts processes", s.path)
		}
		if strings.Contains(s.text, "unix.Openat2(") {
			t.Errorf("%s calls openat2(2): RestrictSUIDSGID= of the unit answers it with ENOSYS", s.path)
		}
	}
}

func within(path string, rooms []string) bool {
	for _, room := range rooms {
		if strings.HasPrefix(path, room) {
			return true
		}
	}
	return false
}

func TestBackendIsPure(t *testing.T) {
	forbidden := []string{"os", "os/exec", "net", "net/http", "time", "syscall", "io/ioutil", "golang.org/x/sys/unix", "math/rand"}
	for _, s := range sources(t) {
		if s.pkg != "backend" && !strings.HasPrefix(s.pkg, "backend/") {
			continue
		}
		for _, imp := range imports(s.file) {
			for _, f := range forbidden {
				if imp == f {
					t.Errorf("%s imports %s: a backend has no I/O and no clock", s.path, imp)
				}
			}
		}
	}
}

// What a run's end means follows from what is known of it, whenever and wherever that is asked.
func TestOutcomeIsPure(t *testing.T) {
	for _, s := range sources(t) {
		if s.pkg != "outcome" {
			continue
		}
		for _, imp := range imports(s.file) {
			if slices.Contains([]string{"io", "log/slog", "math/rand", "net", "net/http", "os", "os/exec"}, imp) {
				t.Errorf("%s imports %s: an outcome has no I/O", s.path, imp)
			}
		}
		if strings.Contains(s.text, "time.Now()") {
			t.Errorf("%s asks the clock", s.path)
		}
	}
}

func TestFilesArePlain(t *testing.T) {
	for _, s := range append(sources(t), modules(t)...) {
		shipped := !strings.HasPrefix(s.pkg, "test/") && !strings.HasPrefix(s.pkg, "tools/")
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init()", s.path)
			}
		}
		if shipped && !strings.HasPrefix(s.pkg, "cmd/") {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" {
						t.Errorf("%s calls panic", s.path)
					}
				}
				return true
			})
		}
		for _, word := range []string{"TO" + "DO", "FIX" + "ME", "XX" + "X"} {
			if shipped && strings.Contains(s.text, word) {
				t.Errorf("%s says %s", s.path, word)
			}
		}
		if base := filepath.Base(s.pkg); base == "util" || base == "helpers" {
			t.Errorf("%s: no %s package", s.path, base)
		}
	}
}

// What a test or a tool leaves behind in the tree is not to be committed with it: links,
// empty files, executables among the packages, directories on the top level.
func TestTreeHasNoDebris(t *testing.T) {
	const top = ".ci .github .gitignore .golangci.yml CHANGELOG.md CONTRIBUTING.md LICENSE Makefile README.md RELEASING.md SECURITY.md VERSION " +
		"admit backend cgroup client cmd config docs go.mod go.sum image internal metrics outcome run sandbox server spawn spool systemd test tools"
	c := exec.Command("git", "ls-files", "--stage")
	c.Dir = filepath.Join("..", "..")
	out, err := c.Output()
	if err != nil {
		t.Skipf("git ls-files: %v: needs git and a clone, not an archive", err)
	}
	for line := range strings.Lines(string(out)) {
		stage, path, _ := strings.Cut(strings.TrimSpace(line), "\t")
		if first, _, _ := strings.Cut(path, "/"); !slices.Contains(strings.Fields(top), first) {
			t.Errorf("%s: %s is not known on the top level", path, first)
		}
		if strings.HasPrefix(stage, "12") {
			t.Errorf("%s is a link", path)
		}
		if strings.Contains(stage, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391") {
			t.Errorf("%s is empty", path)
		}
	}
}

func TestOneDocCommentPerPackage(t *testing.T) {
	docs := map[string]int{}
	for _, s := range append(sources(t), modules(t)...) {
		key := s.pkg + " " + s.file.Name.Name
		docs[key] += 0
		if s.file.Doc != nil {
			docs[key]++
		}
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d doc comments: one is the rule", pkg, n)
		}
	}
}

// The arrows that run back up between the files of these directories are no more than these.
func TestArrows(t *testing.T) {
	for dir, most := range map[string]int{"server": 0, "server/answer": 0, "server/health": 0, "server/listener": 0, "server/web": 0, "server/media": 0, "server/dialect": 0, "server/openai": 0, "server/anthropic": 0} {
		c := exec.Command("go", "run", "./arrows", "-max", strconv.Itoa(most), "../"+dir)
		c.Dir, c.Env = filepath.Join("..", "..", "tools"), append(os.Environ(), "GOWORK=off")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		} else {
			t.Logf("%s", out)
		}
	}
}
