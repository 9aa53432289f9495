package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"penstock/internal/atomicfile"
	"penstock/internal/openat"
)

// smallMax bounds what is read whole: records and sessions, in bytes.
const smallMax = 1 << 20

// readSmall reads a regular file of at most smallMax bytes.
func readSmall(path string) ([]byte, error) { return readUpTo(path, smallMax) }

func readUpTo(path string, most int64) ([]byte, error) {
	f, _, err := openat.Regular(path)
	if errors.Is(err, fs.ErrPermission) && regainAccess(path) == nil {
		f, _, err = openat.Regular(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("read %s: more than %d bytes", path, most)
	}
	return data, err
}

// regainAccess gives the daemon back its own file. A run of its user can't write
// what Landlock protects, but it can take the permission bits away.
func regainAccess(path string) error {
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(path, 0o600); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeJSON replaces files that are read by readUpTo with the same bound.
func writeJSON(paths []string, v any, most int, flush atomicfile.Flusher) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write %s: %w", paths[0], err)
	}
	if len(data) >= most {
		return fmt.Errorf("write %s: %d bytes: more than the %d that would be read", paths[0], len(data), most)
	}
	for _, p := range paths {
		err := atomicfile.Replace(p, append(data, '\n'), flush)
		if errors.Is(err, fs.ErrPermission) && regainAccess(p) == nil {
			err = atomicfile.Replace(p, append(data, '\n'), flush)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
