package run

import (
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A child of the daemon's own user may write there what it likes.
func TestSaidIsNotTrusted(t *testing.T) {
	path := filepath.Join(t.TempDir(), saidName)
	for _, n := range []int64{-1, -1 << 63} {
		if err := os.WriteFile(path, binary.LittleEndian.AppendUint64(nil, uint64(n)), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := openSaid(path); !errors.Is(err, fs.ErrInvalid) {
			t.Errorf("%d bytes said: %+v, %v", n, s, err)
		}
	}
}

func TestNothingIsWrittenThroughALink(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.WriteFile(at("others"), nil, 0o600), os.Symlink("others", at(saidName)),
		unix.Mkfifo(at("elsewhere"), 0o600), os.Symlink("elsewhere", at(stdinName))); err != nil {
		t.Fatal(err)
	}
	reader, err := os.OpenFile(at("elsewhere"), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if s, err := openSaid(at(saidName)); err == nil {
		t.Errorf("%+v", s)
		s.close()
	}
	for _, path := range []string{at(stdinName), at("others")} {
		s, err := newSpeaker(path, nil)
		if err != nil {
			continue
		}
		t.Errorf("speaks to %s", path)
		s.say([][]byte{[]byte("hello")})
		s.close()
	}
	if got, err := io.ReadAll(reader); len(got) > 0 {
		t.Errorf("read %q, %v", got, err)
	}
}
