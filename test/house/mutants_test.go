package house

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var mutantHeader = regexp.MustCompile(`(?m)^(Mechanism|Law|Where|Test|Why): (.+)$`)

// A mutant goes with the code: it applies, and the tests it names are there. That they kill it is test/mutants/run's.
func TestMutants(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("this machine lacks git, which applies patches")
	}
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	patches, err := filepath.Glob(filepath.Join(root, "test", "mutants", "*.patch"))
	if err != nil || len(patches) < 100 {
		t.Fatalf("%d mutants, %v", len(patches), err)
	}
	sources := map[string]string{} // of tests, by package
	for _, patch := range patches {
		name := filepath.Base(patch)
		text, err := os.ReadFile(patch)
		if err != nil {
			t.Fatal(err)
		}
		head, _, _ := strings.Cut(string(text), "\n--- ")
		header := map[string]string{}
		for _, m := range mutantHeader.FindAllStringSubmatch(head, -1) {
			header[m[1]] = m[2]
		}
		if len(header) != 5 || header["Where"] != "native" && header["Where"] != "lab" {
			t.Errorf("%s: header %v", name, header)
		}
		dir, tests, _ := strings.Cut(header["Test"], " ")
		if sources[dir] == "" {
			sources[dir] = testSource(t, filepath.Join(root, dir))
		}
		for test := range strings.SplitSeq(tests, "|") {
			if !strings.Contains(sources[dir], "\nfunc "+test+"(") {
				t.Errorf("%s: %s has no %s", name, dir, test)
			}
		}
		check := exec.Command("git", "apply", "--check", patch)
		check.Dir = root
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func testSource(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
