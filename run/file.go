package run

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"penstock/internal/atomicfile"
)

// smallMax bounds what is read whole: records and sessions, in bytes.
const smallMax = 1 << 20

// openPlain opens a regular file for reading.
func openPlain(path string) (*os.File, os.FileInfo, error) {
	f, err := openKind(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	return f, info, nil
}

// openKind opens a file of one kind (os.ModeType) and nothing else. Children may
// write beside our files: a FIFO in a file's place would block for ever, a
// symbolic link would show what is not the run's, or have the daemon write to it.
func openKind(path string, flags int, kind os.FileMode) (*os.File, error) {
	f, err := os.OpenFile(path, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.Mode().Type() != kind {
		err = fmt.Errorf("open %s: a file of another kind than ours: %s", path, info.Mode())
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// readSmall reads a regular file of at most smallMax bytes.
func readSmall(path string) ([]byte, error) { return readUpTo(path, smallMax) }

func readUpTo(path string, most int64) ([]byte, error) {
	f, _, err := openPlain(path)
	if errors.Is(err, fs.ErrPermission) && regainAccess(path) == nil {
		f, _, err = openPlain(path)
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
