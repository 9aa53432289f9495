package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"penstock/test/escape/task"
)

// processWays touch a process that is not of this run: who can write into one
// can make it do anything.
func processWays() map[string]func(*attempt) error {
	all := map[string]func(*attempt) error{}
	for name, pid := range map[string]func(*attempt) int{
		"the daemon":  func(a *attempt) int { return a.Daemon },
		"a sibling":   func(a *attempt) int { return a.Neighbour },
		"a bystander": func(a *attempt) int { return a.Bystander },
	} {
		all["ptrace "+name] = func(a *attempt) error { return a.trace(pid(a)) }
		all["process_vm_writev to "+name] = func(a *attempt) error { return a.poke(pid(a), vmWrite) }
		all["/proc/PID/mem of "+name] = func(a *attempt) error { return a.poke(pid(a), memWrite) }
		all["stop by a signal: "+name] = func(a *attempt) error { return a.signal(pid(a)) }
	}
	all["stop by a signal: a thread of the daemon"] = signalThread
	all["raise the daemon's oom_score_adj"] = raiseScore
	all["prlimit of the daemon"] = limitDaemon
	all["renice the daemon"] = renice
	all["write into a sibling's directory"] = func(a *attempt) error {
		return os.WriteFile(filepath.Join(a.RunDir, "escape-"+a.Token), nil, 0o600)
	}
	all["write a run's record"] = func(a *attempt) error { return a.forge(a.Record) }
	all["put another record in a run's place"] = func(a *attempt) error {
		own := a.scratch("record")
		if err := a.forge(own); err != nil {
			return err
		}
		return first(func() error { return os.Rename(own, a.Record) }, func() error {
			beside := a.Record + a.Token
			if err := a.forge(beside); err != nil {
				return err
			}
			return os.Rename(beside, a.Record)
		})
	}
	all["put another store in the daemon's place"] = func(a *attempt) error {
		store := filepath.Dir(filepath.Dir(filepath.Dir(a.Record)))
		if err := os.Rename(store, store+a.Token); err != nil {
			return err
		}
		a.hold()
		return nil
	}
	return all
}

// forge writes what is no record, with the token in it.
func (a *attempt) forge(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(a.Token)
	return errors.Join(err, f.Close())
}

// mark finds the mark's value in another process's memory.
func mark(pid int) (uintptr, error) {
	maps, err := os.ReadFile(proc(pid, "maps"))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(maps)) {
		if !strings.Contains(line, "[stack]") {
			continue
		}
		from, rest, _ := strings.Cut(line, "-")
		to, _, _ := strings.Cut(rest, " ")
		low, err1 := strconv.ParseUint(from, 16, 64)
		high, err2 := strconv.ParseUint(to, 16, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		text := make([]byte, high-low)
		n, err := vm(unix.SYS_PROCESS_VM_READV, pid, uintptr(low), text)
		if err != nil {
			return 0, fmt.Errorf("process_vm_readv: %w", err)
		}
		name := task.Mark
		if pid == 1 {
			name = task.FirstsVariable // it has no mark
		}
		if at := bytes.LastIndex(text[:n], []byte(name+"=")); at >= 0 {
			return uintptr(low) + uintptr(at+len(name)+1), nil
		}
	}
	return 0, errors.New("no mark on its stack")
}

func vm(call uintptr, pid int, at uintptr, text []byte) (int, error) {
	local := unix.Iovec{Base: &text[0], Len: uint64(len(text))}
	remote := unix.RemoteIovec{Base: at, Len: len(text)}
	if call == unix.SYS_PROCESS_VM_READV {
		return unix.ProcessVMReadv(pid, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
	}
	return unix.ProcessVMWritev(pid, []unix.Iovec{local}, []unix.RemoteIovec{remote}, 0)
}

func vmWrite(pid int, at uintptr, text []byte) error {
	_, err := vm(unix.SYS_PROCESS_VM_WRITEV, pid, at, text)
	return err
}

func memWrite(pid int, at uintptr, text []byte) error {
	f, err := os.OpenFile(proc(pid, "mem"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(text, int64(at))
	return errors.Join(err, f.Close())
}

// poke writes the token over the mark.
func (a *attempt) poke(pid int, write func(int, uintptr, []byte) error) error {
	at, err := mark(pid)
	if err != nil {
		return err
	}
	return write(pid, at, []byte(a.Token))
}

// trace attaches, writes the token word by word, and lets go.
func (a *attempt) trace(pid int) error {
	if err := syscall.PtraceAttach(pid); err != nil {
		return fmt.Errorf("ptrace attach: %w", err)
	}
	var ws syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &ws, syscall.WALL, nil); err != nil {
		return err
	}
	at, err := mark(pid)
	if err == nil {
		_, err = syscall.PtracePokeData(pid, at, []byte(a.Token))
	}
	return errors.Join(err, syscall.PtraceDetach(pid))
}

// signal stops a process; the test lets it go on.
func (a *attempt) signal(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("kill %d: %w", pid, err)
	}
	for range 200 { // it stops when it next looks
		if text, err := os.ReadFile(proc(pid, "stat")); err != nil || strings.Contains(string(text), ") T ") {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	a.hold()
	return nil
}

// signalThread names the daemon by the number of one of its threads: a signal
// to that stops all of it.
func signalThread(a *attempt) error {
	threads, err := os.ReadDir(proc(a.Daemon, "task"))
	if err != nil {
		return err
	}
	for _, thread := range threads {
		tid, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if tid != a.Daemon {
			return a.signal(tid)
		}
	}
	return errors.New("it has one thread only")
}

// raiseScore makes the daemon the first to be killed when memory is short.
func raiseScore(a *attempt) error {
	if err := os.WriteFile(proc(a.Daemon, "oom_score_adj"), []byte("987"), 0); err != nil {
		return err
	}
	a.hold()
	return nil
}

// limitDaemon could as well take the daemon's files away.
func limitDaemon(a *attempt) error {
	var now unix.Rlimit
	if err := unix.Prlimit(a.Daemon, unix.RLIMIT_MSGQUEUE, nil, &now); err != nil {
		return fmt.Errorf("prlimit: %w", err)
	}
	now.Cur = 98765
	if err := unix.Prlimit(a.Daemon, unix.RLIMIT_MSGQUEUE, &now, nil); err != nil {
		return fmt.Errorf("prlimit: %w", err)
	}
	a.hold()
	return nil
}

func renice(a *attempt) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, a.Daemon, 17); err != nil {
		return fmt.Errorf("setpriority: %w", err)
	}
	a.hold()
	return nil
}
