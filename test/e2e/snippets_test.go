package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"penstock/test/clis"
	"penstock/test/daemon"
)

// goProgram is what a Go snippet is a part of.
const goProgram = `package main

import (
	"context"
	"fmt"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
)

func main() {
	ctx := context.Background()
%s
	fmt.Println(response.OutputText(), err)
}
`

// The programs of README and docs/clients.md do what these say.
func TestSnippets(t *testing.T) {
	d := daemon.Start(t, daemon.Options{})
	top := daemon.Top(t)
	var pages []byte
	for _, name := range []string{"README.md", filepath.Join("docs", "clients.md")} {
		page, err := os.ReadFile(filepath.Join(top, name))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page...)
	}
	sdk := filepath.Join(top, "test", "sdk")
	found := regexp.MustCompile("(?ms)^```(js|go)\n(.*?)^```").FindAllSubmatch(pages, -1)
	if len(found) < 7 {
		t.Fatalf("%d programs", len(found))
	}
	for i, m := range found {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			code := strings.ReplaceAll(string(m[2]), "http://127.0.0.1:3344", d.URL)
			cmd := exec.CommandContext(bounded(t, long), clis.Node(filepath.Join(top, "test", "clis")), "--input-type=module")
			cmd.Dir = sdk
			if string(m[1]) == "go" {
				file := filepath.Join(t.TempDir(), "main.go")
				if err := os.WriteFile(file, fmt.Appendf(nil, goProgram, code), 0o600); err != nil {
					t.Fatal(err)
				}
				cmd = exec.CommandContext(bounded(t, long), "go", "run", file)
				cmd.Dir, code = filepath.Join(sdk, "gosdk"), ""
			}
			cmd.Stdin = strings.NewReader(code)
			if out, err := cmd.CombinedOutput(); err != nil || !regexp.MustCompile("hello|repository").Match(out) {
				t.Errorf("%v: %s, of\n%s", err, out, m[2])
			}
		})
	}
}
