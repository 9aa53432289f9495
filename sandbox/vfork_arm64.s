#include "textflag.h"

// func vforkCall(trap, a1, a2 uintptr) (r1, errno uintptr)
//
// The return address is in a register here, which each process has for itself.
TEXT ·vforkCall(SB), NOSPLIT|NOFRAME, $0-40
	MOVD a1+8(FP), R0
	MOVD a2+16(FP), R1
	MOVD trap+0(FP), R8
	SVC
	MOVD ZR, errno+32(FP)
	CMN $4095, R0
	BCS failed
	MOVD R0, r1+24(FP)
	RET
failed:
	NEG R0, R0
	MOVD R0, errno+32(FP)
	MOVD $-1, R0
	MOVD R0, r1+24(FP)
	RET
