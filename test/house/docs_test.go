package house

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	mdHeading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	mdFence   = regexp.MustCompile("(?ms)^```.*?^```")
	notAnchor = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// Every link of README and handbook leads to a file that is there, and to a
// heading of it; every page of the handbook can be reached from its index.
func TestDocsLinks(t *testing.T) {
	root := filepath.Join("..", "..")
	pages := []string{
		filepath.Join(root, "README.md"), filepath.Join(root, "CONTRIBUTING.md"),
		filepath.Join(root, "SECURITY.md"), filepath.Join(root, "RELEASING.md"),
	}
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, found...)
	}
	index := filepath.Join(root, "docs", "README.md")
	linked := map[string][]string{}
	for _, page := range pages {
		for _, link := range links(t, page) {
			path, anchor, _ := strings.Cut(link, "#")
			target := page
			if path != "" {
				target = filepath.Join(filepath.Dir(page), path)
			}
			linked[page] = append(linked[page], target)
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %s: %v", page, link, err)
			} else if anchor != "" && !slices.Contains(anchors(t, target), anchor) {
				t.Errorf("%s: %s has no heading #%s", page, target, anchor)
			}
		}
	}
	for _, page := range pages {
		if page != index && filepath.Dir(page) == filepath.Dir(index) && !slices.Contains(linked[index], page) {
			t.Errorf("%s is not in %s", page, index)
		}
	}
}

// links of a page that stay in the repository; code blocks hold none.
func links(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	for _, m := range mdLink.FindAllStringSubmatch(prose(t, page), -1) {
		if !strings.Contains(m[1], "://") && !strings.HasPrefix(m[1], "mailto:") {
			all = append(all, m[1])
		}
	}
	return all
}

// anchors are a page's headings as GitHub names them, and the ids it sets itself.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	text := prose(t, page)
	var all []string
	for _, m := range mdHeading.FindAllStringSubmatch(text, -1) {
		name := notAnchor.ReplaceAllString(strings.ToLower(m[1]), "")
		all = append(all, strings.ReplaceAll(strings.TrimSpace(name), " ", "-"))
	}
	for _, m := range regexp.MustCompile(`(?:id|name)="([^"]+)"`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func prose(t *testing.T, page string) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return mdFence.ReplaceAllString(string(text), "")
}

// docs/design.md names every room, and no file that isn't there.
func TestDesign(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "design.md"))
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(" ,;:()`|\n", r) })
	for pkg := range floor {
		if !slices.Contains(words, pkg) && !slices.Contains(words, filepath.Base(pkg)) && !slices.Contains(words, filepath.Base(pkg)+"/") {
			t.Errorf("docs/design.md doesn't name %s", pkg)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z/]+/[a-z_]+\\.go)`").FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join(root, m[1])); err != nil {
			t.Errorf("docs/design.md: %v", err)
		}
	}
}
