// Package house holds the rules of the house as tests: who may import whom,
// who may start a process, who may touch the cgroup tree, how long a file is.
package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "penstock/"

// floor is a package's place in the house; imports may only point to a lower one.
// The numbers leave room for a wall between two of them.
var floor = map[string]int{
	"internal/procinfo": 5, "cgroup": 10, "internal/atomicfile": 10,
	"outcome": 15,
	"spawn":   20, "backend": 20,
	"spool": 25, "run": 30, "admit": 30, "config": 30,
	"server": 50, "systemd": 40, "metrics": 40, "metrics/grafana": 40,
	"internal/hint": 5, "internal/bytesize": 6, "internal/backoff": 5,
	"client": 40, "cmd/penstock": 60, "cmd/penstock/demo": 55, "cmd/penstock/terminal": 55,
	"server/openapi": 10, "server/ui": 10,
	"internal/openat": 10,
	"server/listener": 42, "server/web": 44, "server/openai": 46, "server/answer": 48, "server/health": 48,
}

type source struct {
	path string // slash separated, from the repository's root
	pkg  string
	file *ast.File
	text string
}

// sources parses every shipped Go file: tests and test programs are left out.
func sources(t *testing.T) []source {
	t.Helper()
	root := filepath.Join("..", "..")
	var all []source
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, path)
		rel = filepath.ToSlash(rel)
		if d.IsDir() {
			ofTests := strings.HasPrefix(rel, "internal/") && strings.HasSuffix(rel, "test")
			if rel == "test" || rel == "bin" || rel == "tools" || ofTests || (strings.HasPrefix(rel, ".") && rel != ".") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(rel, ".go") || strings.HasSuffix(rel, "_test.go") {
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
	if len(all) < 20 {
		t.Fatalf("found only %d source files: the walk is wrong", len(all))
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

func TestOnlyOneRoomDoesIt(t *testing.T) {
	rules := []struct {
		imp   string
		rooms []string
	}{
		{"os/exec", []string{"spawn/", "cmd/penstock/demo/"}},
		{"github.com/prometheus/client_golang", []string{"metrics/"}},
		{"github.com/containerd/cgroups", []string{"cgroup/"}},
		{"github.com/gorilla/mux", []string{"server/"}},
		{"github.com/spf13/cobra", []string{"cmd/"}},
		{"github.com/coreos/go-systemd", []string{"systemd/", "cgroup/scope"}},
		{"github.com/godbus/dbus", []string{"cgroup/scope"}},
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
		if s.pkg != "backend" {
			continue
		}
		for _, imp := range imports(s.file) {
			for _, f := range forbidden {
				if imp == f {
					t.Errorf("%s imports %s: an adapter has no I/O and no clock", s.path, imp)
				}
			}
		}
	}
}

func TestFilesAreSmallAndPlain(t *testing.T) {
	var lengths []int
	for _, s := range sources(t) {
		n := strings.Count(s.text, "\n")
		lengths = append(lengths, n)
		if n > 450 {
			t.Errorf("%s has %d lines: no file is over 450", s.path, n)
		}
		for _, decl := range s.file.Decls {
			if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init()", s.path)
			}
		}
		if !strings.HasPrefix(s.pkg, "cmd/") {
			ast.Inspect(s.file, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "panic" {
						t.Errorf("%s calls panic", s.path)
					}
				}
				return true
			})
		}
		for _, word := range []string{"TODO", "FIXME", "XXX"} {
			if strings.Contains(s.text, word) {
				t.Errorf("%s says %s", s.path, word)
			}
		}
		if base := filepath.Base(s.pkg); base == "util" || base == "helpers" {
			t.Errorf("%s: no %s package", s.path, base)
		}
	}
	median := middle(lengths)
	t.Logf("%d files, median %d lines", len(lengths), median)
	if median >= 150 {
		t.Errorf("median file length is %d lines: under 150 is the rule", median)
	}
}

func middle(n []int) int {
	slices.Sort(n)
	return n[len(n)/2]
}

func TestOneDocCommentPerPackage(t *testing.T) {
	docs := map[string]int{}
	for _, s := range sources(t) {
		docs[s.pkg] += 0
		if s.file.Doc != nil {
			docs[s.pkg]++
		}
	}
	for pkg, n := range docs {
		if n != 1 {
			t.Errorf("package %s has %d doc comments: one is the rule", pkg, n)
		}
	}
}
