// Package process1 is the program that is process 1 of runs in images, as the penstock
// program carries it.
//
//	Open   the program cmd/process1 in memory, where this build has it      embedded.go
//	       else the penstock program itself, which is larger                absent.go
//
// It is opened once, at the daemon's start: what is installed meanwhile is not mixed with
// what runs.
package process1

import (
	"fmt"
	"log/slog"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"penstock/internal/memfd"
)

// Command makes the penstock program process 1.
const Command = "process1"

// Open is a program that calls pid1.Main with these arguments.
func Open(log *slog.Logger) (f *os.File, args []string, err error) { return open(program, log) }

func open(small string, log *slog.Logger) (*os.File, []string, error) {
	if small != "" {
		f, err := memfd.Program(Command, small)
		giveBack(small)
		if err == nil {
			return f, nil, nil
		}
		log.Debug("runs in images start slower: penstock itself is their process 1, not the small program in it", "error", err)
	}
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return nil, nil, fmt.Errorf("process 1 of runs in images: %w", err)
	}
	return f, []string{Command}, nil
}

// giveBack takes what a string of the program's file fills out of this process's memory.
// Read again, it comes again from the file.
func giveBack(text string) {
	page := os.Getpagesize()
	start := int(uintptr(unsafe.Pointer(unsafe.StringData(text))))
	from, to := -start&(page-1), len(text)
	to -= (start + to) & (page - 1)
	if from < to { // whole pages of it
		_ = unix.Madvise(unsafe.Slice(unsafe.StringData(text), len(text))[from:to], unix.MADV_DONTNEED) // it costs memory, no more
	}
}
