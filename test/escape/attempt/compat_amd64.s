#include "textflag.h"

// func compatCall(nr, a, b, path, argv uintptr) uintptr
// A system call by the gate of 32-bit programs; where it gives birth, the child executes path.
TEXT ·compatCall(SB), NOSPLIT, $0-48
	MOVQ nr+0(FP), AX
	MOVQ a+8(FP), BX
	MOVQ b+16(FP), CX
	MOVQ path+24(FP), DI
	MOVQ argv+32(FP), SI
	INT  $0x80
	CMPL AX, $0
	JEQ  child
	MOVLQSX AX, AX
	MOVQ AX, ret+40(FP)
	RET
child:
	XORL DX, DX
	MOVL $59, AX // execve
	SYSCALL
	MOVL $60, AX // exit
	MOVL $127, DI
	SYSCALL
	RET
