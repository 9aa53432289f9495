package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"penstock/internal/atomicfile"
	"penstock/internal/hint"
)

// Name is a digest's name in the store.
type Name struct {
	Name     string    `json:"name"`
	Digest   string    `json:"digest"`
	Source   string    `json:"source"`             // what it was added from
	Home     string    `json:"home,omitempty"`     // HOME inside; "" is the default
	Writable int64     `json:"writable,omitempty"` // bytes a run may write beside its directories; 0 is the default
	Added    time.Time `json:"added"`
}

// DefaultHome is HOME inside where nothing else is said.
const DefaultHome = "/home/agent"

// CheckName says why an image can't have a name.
func CheckName(name string) error {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,63}$`).MatchString(name) {
		return hint.Errorf("small letters, digits, dash and underscore, at most 64", "%q can't be an image's name", name)
	}
	return nil
}

// CheckHome says why a directory can't be HOME inside: it is memory that a run can write,
// laid over what the image has there.
func CheckHome(home string) error {
	switch {
	case !filepath.IsAbs(home):
		return hint.Errorf("write an absolute path", "%q is not absolute", home)
	case filepath.Clean(home) != home:
		return hint.Errorf("write "+filepath.Clean(home), "%q is not clean", home)
	case len(home) > 1024:
		return hint.Errorf("", "%.40q... has more than 1024 bytes", home)
	}
	for _, taken := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/sys", "/dev"} {
		if home == "/" || home == taken {
			return hint.Errorf("write a directory of its own, such as "+DefaultHome, "%s would hide what the image has there", home)
		}
		if strings.HasPrefix(home, "/proc/") || strings.HasPrefix(home, "/sys/") || strings.HasPrefix(home, "/dev/") {
			return hint.Errorf("write a directory of its own, such as "+DefaultHome, "%s is no place for files", home)
		}
	}
	return nil
}

// ErrUnknown is wrapped when there is no image of a name.
var ErrUnknown = errors.New("no such image")

// Name finds a name.
func (s *Store) Name(name string) (Name, error) {
	var n Name
	if err := CheckName(name); err != nil {
		return n, err
	}
	err := readJSON(s.nameFile(name), &n)
	if errors.Is(err, fs.ErrNotExist) {
		return n, hint.Errorf("penstock image ls shows what there is", "image %s: %w", name, ErrUnknown)
	}
	if err == nil && (n.Name != name || CheckDigest(n.Digest) != nil) {
		err = fmt.Errorf("image %s: %s is not its file", name, s.nameFile(name))
	}
	return n, err
}

// Names are all names, sorted.
func (s *Store) Names() ([]Name, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, namesName))
	if err != nil {
		return nil, fmt.Errorf("image store: %w", err)
	}
	var all []Name
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), ".json")
		if !ok || CheckName(name) != nil {
			continue // what a replacement left that was interrupted
		}
		n, err := s.Name(name)
		if errors.Is(err, ErrUnknown) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// Both are the names that are in the store and among these, sorted: none may be.
func (s *Store) Both(configured []string) ([]string, error) {
	names, err := s.Names()
	var both []string
	for _, n := range names {
		if slices.Contains(configured, n.Name) {
			both = append(both, n.Name)
		}
	}
	return both, err
}

// SetName gives a digest that is in the store a name, in place of what had it. Without
// anything to unpack that is all of an add.
func (s *Store) SetName(ctx context.Context, n Name) error {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := s.Get(n.Digest); err != nil {
		return err
	}
	return s.writeName(n)
}

// writeName is called under the lock.
func (s *Store) writeName(n Name) error {
	if err := CheckName(n.Name); err != nil {
		return err
	}
	text, err := json.MarshalIndent(n, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Replace(s.nameFile(n.Name), append(text, '\n'), (*os.File).Sync)
}

func (s *Store) nameFile(name string) string {
	return filepath.Join(s.dir, namesName, name+".json")
}
