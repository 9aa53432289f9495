package sandbox

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// verdict is what a filter answers to a call; the kernel runs it the same way
// (Documentation/networking/filter.rst).
func verdict(t *testing.T, program []unix.SockFilter, call, arch uint32, args ...uint64) uint32 {
	t.Helper()
	data := map[uint32]uint32{offsetCall: call, offsetArch: arch}
	for i, arg := range args {
		data[offsetArgs+8*uint32(i)], data[offsetArgs+8*uint32(i)+4] = uint32(arg), uint32(arg>>32)
	}
	var a uint32
	for pc := 0; pc < len(program); pc++ {
		in, yes := program[pc], false
		switch in.Code {
		case unix.BPF_LD | unix.BPF_W | unix.BPF_ABS:
			a = data[in.K]
			continue
		case unix.BPF_RET | unix.BPF_K:
			return in.K
		case unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K:
			yes = a == in.K
		case unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K:
			yes = a&in.K != 0
		default:
			t.Fatalf("instruction %d: %+v", pc, in)
		}
		if yes {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	t.Fatal("it runs off its end")
	return 0
}

type called struct {
	what string
	call uint32
	args []uint64
	want uint32 // the filter's answer
}

// What the filters let through and what not, in every ABI of the machine.
func TestSeccompFilter(t *testing.T) {
	const victim = 7
	filters := []*unix.SockFprog{bornWith(), putOn([]uint32{victim})}
	errno := func(e unix.Errno) uint32 { return unix.SECCOMP_RET_ERRNO | uint32(e) }
	const allow = uint32(unix.SECCOMP_RET_ALLOW)
	for _, abi := range abis() {
		rows := []called{
			{"clone3", unix.SYS_CLONE3, nil, errno(unix.ENOSYS)},
			{"clone", abi.clone, []uint64{unix.CLONE_VM}, allow},
			{"clone of a sibling", abi.clone, []uint64{unix.CLONE_PARENT}, errno(unix.EPERM)},
			{"own limit", abi.prlimit, []uint64{0, 1, 1 << 40}, allow},
			{"another's limit read", abi.prlimit, []uint64{9, 1, 0}, allow},
			{"another's limit set", abi.prlimit, []uint64{9, 1, 1 << 40}, errno(unix.EPERM)},
			{"any other call", 39 + 1000, nil, allow},
			{"x32 getpid", x32Bit | 39, nil, errno(unix.ENOSYS)},
			{"x32 rt_sigqueueinfo", x32Bit | 524, []uint64{victim}, errno(unix.ENOSYS)},
			{"x32 rt_tgsigqueueinfo", x32Bit | 536, []uint64{victim}, errno(unix.ENOSYS)},
		}
		for _, call := range abi.signals {
			rows = append(rows,
				called{fmt.Sprint("signal to a victim by ", call), call, []uint64{victim}, errno(unix.EPERM)},
				called{fmt.Sprint("signal to another by ", call), call, []uint64{victim + 1}, allow})
		}
		for _, row := range rows {
			got := allow
			for _, f := range filters { // the kernel takes the stricter: here none but one refuses
				if one := verdict(t, unsafe.Slice(f.Filter, f.Len), row.call, abi.arch, row.args...); one != allow {
					got = one
				}
			}
			if got != row.want {
				t.Errorf("arch %#x: %s: %#x, want %#x", abi.arch, row.what, got, row.want)
			}
		}
	}
}

// A run in an image reaches no keys, in no ABI; one on the host has a keyring of its own.
func TestSeccompFilter_KeysInAnImage(t *testing.T) {
	for what, f := range map[string]struct {
		program *unix.SockFprog
		want    uint32
	}{
		"in an image": {putOnInner([]uint32{1}), unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)},
		"on the host": {putOn([]uint32{1}), unix.SECCOMP_RET_ALLOW},
	} {
		for _, abi := range abis() {
			for _, call := range abi.keys {
				if got := verdict(t, unsafe.Slice(f.program.Filter, f.program.Len), call, abi.arch); got != f.want {
					t.Errorf("%s: arch %#x: call %d: %#x, want %#x", what, abi.arch, call, got, f.want)
				}
			}
			for _, call := range []uint32{abi.keys[0] - 1, abi.keys[2] + 1, abi.clone} {
				if got := verdict(t, unsafe.Slice(f.program.Filter, f.program.Len), call, abi.arch); got != unix.SECCOMP_RET_ALLOW {
					t.Errorf("%s: arch %#x: call %d: %#x", what, abi.arch, call, got)
				}
			}
			if got := verdict(t, unsafe.Slice(f.program.Filter, f.program.Len), abi.signals[0], abi.arch, 1); got == unix.SECCOMP_RET_ALLOW {
				t.Errorf("%s: arch %#x: a signal to the protected is let through", what, abi.arch)
			}
		}
	}
}

// What each child puts on costs every start, by its length.
func TestSeccompFilter_ChildsIsShort(t *testing.T) {
	if n := putOn(nil).Len; n > 4 {
		t.Errorf("%d instructions", n)
	}
}

// kill(0, sig) is what timeout(1) and shells do.
func TestProtectedPIDs_OwnGroup(t *testing.T) {
	for _, group := range []int{0, 7} {
		got := protectedPIDsOf(7, group)
		if slices.Contains(got, 0) || slices.Contains(got, uint32(1<<32-7)) != (group == 7) {
			t.Errorf("group %d: %v", group, got)
		}
	}
}
