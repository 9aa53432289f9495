#include "textflag.h"

// func vforkCall(trap, a1, a2 uintptr) (r1, errno uintptr)
//
// The child runs on this very stack until it executes, and overwrites what
// lies above: the return address waits in a register, which each process has
// for itself.
TEXT ·vforkCall(SB), NOSPLIT|NOFRAME, $0-40
	MOVQ a1+8(FP), DI
	MOVQ a2+16(FP), SI
	XORL DX, DX
	MOVQ trap+0(FP), AX
	POPQ R12
	SYSCALL
	PUSHQ R12
	MOVQ $0, errno+32(FP)
	CMPQ AX, $-4095
	JCC failed
	MOVQ AX, r1+24(FP)
	RET
failed:
	NEGQ AX
	MOVQ AX, errno+32(FP)
	MOVQ $-1, r1+24(FP)
	RET
