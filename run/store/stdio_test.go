package store

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/backend"
)

// A prompt is a file to its CLI, whatever its size: it has an end, it can be opened anew,
// and what the CLI does to it changes nothing.
func TestOpenStdio_PromptIsAFile(t *testing.T) {
	for _, size := range []int{0, 5, smallPrompt, smallPrompt + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			d := newDirectory(t, nil)
			prompt := bytes.Repeat([]byte("p"), size)
			std, err := d.OpenStdio(backend.Command{Prompt: prompt})
			if err != nil {
				t.Fatal(err)
			}
			defer std.Close()
			if info, err := std.Stdin.Stat(); err != nil || !info.Mode().IsRegular() || info.Size() != int64(size) {
				t.Errorf("%v, %v", info, err)
			}
			if _, err := std.Stdin.Write([]byte("x")); err == nil {
				t.Error("it could be written to")
			}
			if got, err := io.ReadAll(std.Stdin); err != nil || !bytes.Equal(got, prompt) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", std.Stdin.Fd()))
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, prompt) {
				t.Errorf("opened anew: %d bytes, %v", len(got), err)
			}
		})
	}
}

// A small prompt leaves nothing on the disk.
func TestOpenStdio_SmallPromptHasNoName(t *testing.T) {
	if fd, err := unix.MemfdCreate("asked", unix.MFD_CLOEXEC); err != nil {
		t.Skipf("this host refuses files in memory: %v", err)
	} else if err := unix.Close(fd); err != nil {
		t.Fatal(err)
	}
	d := newDirectory(t, nil)
	std, err := d.OpenStdio(backend.Command{Prompt: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	defer std.Close()
	if _, err := os.Lstat(d.File(promptName)); err == nil {
		t.Error("a file was made")
	}
}
