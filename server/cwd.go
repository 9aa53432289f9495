package server

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"penstock/run"
	"penstock/server/web"
)

// resolveCwd tells before admission where cwd lies and refuses what is outside of the
// workspace roots. That is for the client's sake: what counts is what the path
// means at the start, see openCwd.
func resolveCwd(cwd string, roots []string) (string, error) {
	if cwd == "" {
		return "", nil
	}
	if !filepath.IsAbs(cwd) || strings.ContainsRune(cwd, 0) {
		return "", web.BadRequest("cwd", "cwd must be an absolute path")
	}
	dir, err := openInside(filepath.Clean(cwd), roots)
	if err != nil {
		return "", err
	}
	defer dir.Close()
	return dir.Name(), nil
}

// openCwd opens a directory for the start: one that was resolved before, by the
// request or by an earlier turn of its session. It must still be where it was
// then, and inside today's roots.
func openCwd(cwd string, roots []string) (*os.File, error) {
	dir, err := openInside(cwd, roots)
	if err != nil {
		return nil, err
	}
	if dir.Name() != cwd {
		dir.Close()
		return nil, cwdMoved()
	}
	return dir, nil
}

// opener is a Spec's OpenCwd. asked says that the client has named a directory;
// else the backend's own is the operator's word, whatever the roots are.
func (a *configuredBackend) opener(asked bool, roots []string) func(string) (*os.File, error) {
	return func(cwd string) (*os.File, error) {
		if !asked && cwd == a.config.Cwd {
			return nil, nil
		}
		return openCwd(cwd, roots)
	}
}

// openInside follows every link, opens what is there, and asks whether that is
// inside a workspace root; a link that leads out is outside. Outside of the roots
// the answer does not tell whether anything is there.
func openInside(cwd string, roots []string) (*os.File, error) {
	dir, err := run.OpenDir(cwd)
	switch {
	case err == nil && inside(dir.Name(), roots):
		return dir, nil
	case err == nil:
		dir.Close()
		return nil, cwdOutside(cwd)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return nil, web.NoDescriptors()
	}
	if resolved, linkErr := filepath.EvalSymlinks(cwd); linkErr == nil && !inside(resolved, roots) || !inside(cwd, roots) {
		return nil, cwdOutside(cwd)
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, web.BadRequest("cwd", "cwd %q is not a directory", web.Clip(cwd, 200))
	}
	return nil, web.BadRequest("cwd", "cwd %q does not exist or can't be read", web.Clip(cwd, 200))
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

func cwdOutside(cwd string) error {
	e := web.Errorf(web.CwdNotAllowed, "cwd %q is outside of workspace_roots", web.Clip(cwd, 200))
	e.Param = "cwd"
	return e
}

// cwdMoved refuses a cwd that isn't the directory any more that was asked for.
func cwdMoved() *web.Error {
	e := web.Errorf(web.CwdNotAllowed, "cwd has been moved or replaced since it was asked for: nothing was started")
	e.Param = "cwd"
	return e
}
