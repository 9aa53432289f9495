package server

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// resolveCwd follows every link and then asks whether the place is inside a
// workspace root; a link that leads out is outside. Outside of the roots the
// answer does not tell whether anything is there.
func resolveCwd(cwd string, roots []string) (string, error) {
	if cwd == "" {
		return "", nil
	}
	if !filepath.IsAbs(cwd) || strings.ContainsRune(cwd, 0) {
		return "", badRequest("cwd", "cwd must be an absolute path")
	}
	resolved, err := filepath.EvalSymlinks(filepath.Clean(cwd))
	if err != nil {
		if inside(filepath.Clean(cwd), roots) {
			return "", badRequest("cwd", "cwd %q does not exist or can't be read", clip(cwd, 200))
		}
		return "", outside(cwd)
	}
	if !inside(resolved, roots) {
		return "", outside(cwd)
	}
	if info, err := os.Stat(resolved); err != nil || !info.IsDir() {
		return "", badRequest("cwd", "cwd %q is not a directory", clip(cwd, 200))
	}
	return resolved, nil
}

// inside compares with the roots as written and as they resolve now.
func inside(path string, roots []string) bool {
	for _, root := range roots {
		if below(path, filepath.Clean(root)) {
			return true
		}
		if resolved, err := filepath.EvalSymlinks(root); err == nil && below(path, resolved) {
			return true
		}
	}
	return false
}

func below(path, root string) bool {
	return path == root || root == "/" || strings.HasPrefix(path, root+"/")
}

func outside(cwd string) error {
	e := refusal(http.StatusForbidden, "cwd_not_allowed", "cwd %q is outside of workspace_roots", clip(cwd, 200))
	e.Param = "cwd"
	return e
}
