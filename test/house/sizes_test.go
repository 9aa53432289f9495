package house

import (
	"go/ast"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const (
	linesMost  = 450
	linesLeast = 40  // without a build tag or the package's doc: less belongs to a neighbour
	medianMost = 150 // lines of a file
	filesMost  = 25  // shipped ones of a directory: more want an inner wall
	docLeast   = 4   // lines of a package's doc: what is in it, what calls what, where to look
)

func TestFilesAreNeitherLongNorDust(t *testing.T) {
	var lengths []int
	files := map[string]int{}
	for _, s := range sources(t) {
		n := strings.Count(s.text, "\n")
		lengths = append(lengths, n)
		files[s.pkg]++
		if n > linesMost {
			t.Errorf("%s has %d lines: no file is over %d", s.path, n, linesMost)
		}
		if n < linesLeast && s.file.Doc == nil && !constrained(s.file) {
			t.Errorf("%s has %d lines: no file is under %d, put it where a reader would look for it", s.path, n, linesLeast)
		}
	}
	for dir, n := range files {
		if n > filesMost {
			t.Errorf("%s has %d files: more than %d want an inner wall", dir, n, filesMost)
		}
	}
	slices.Sort(lengths)
	median := lengths[len(lengths)/2]
	total, largest := 0, ""
	for _, n := range lengths {
		total += n
	}
	for dir, n := range files {
		if n > files[largest] {
			largest = dir
		}
	}
	t.Logf("shipped: %d lines in %d files, median %d, largest directory %s with %d", total, len(lengths), median, largest, files[largest])
	if median >= medianMost {
		t.Errorf("median file length is %d lines: under %d is the rule", median, medianMost)
	}
	for _, s := range modules(t) {
		if n := strings.Count(s.text, "\n"); n > linesMost {
			t.Errorf("%s has %d lines: no file is over %d", s.path, n, linesMost)
		}
	}
}

// constrained is true of a file with a build tag.
func constrained(f *ast.File) bool {
	for _, group := range f.Comments {
		if group.Pos() > f.Package {
			break
		}
		for _, c := range group.List {
			if strings.HasPrefix(c.Text, "//go:build ") {
				return true
			}
		}
	}
	return false
}

var goFile = regexp.MustCompile(`[a-z_]+(/[a-z_]+)*\.go\b`)

// A package of one or two files shows itself. A picture names each file, and none that
// isn't there.
func TestPackagesHaveAPicture(t *testing.T) {
	files := map[string]int{}
	all := sources(t)
	for _, s := range all {
		files[s.pkg]++
	}
	for _, s := range all {
		if s.file.Doc == nil || files[s.pkg] < 3 {
			continue
		}
		text := s.file.Doc.Text()
		if strings.Count(text, "\n") < docLeast || !strings.Contains(text, "\n\t") {
			t.Errorf("%s: the package's doc has no picture: what is in it, what calls what, where to look", s.path)
		}
		for _, name := range goFile.FindAllString(text, -1) {
			if _, err := os.Stat(filepath.Join("..", "..", s.pkg, name)); err != nil {
				t.Errorf("%s: the package's doc names %s: %v", s.path, name, err)
			}
		}
		for _, f := range all {
			if name := path.Base(f.path); f.pkg == s.pkg && f.path != s.path && name != "main.go" && !strings.Contains(text, name) {
				t.Errorf("%s: the package's doc doesn't name %s", s.path, name)
			}
		}
	}
}
