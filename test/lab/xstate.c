/*
 * Preloaded into User-Mode Linux before 6.13 on a host with AMX. That kernel keeps 2696 bytes of extended processor
 * state for each of its processes: all of x87, SSE, AVX and AVX-512, but not the AMX tiles, without which the host's
 * ptrace refuses the whole (EINVAL or EFAULT, and the guest dies). This wrapper hands the host what it wants: the
 * process's own full state with the guest's 2696 bytes laid over it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PEEKTEXT = 1, PEEKUSER = 3, GETREGSET = 0x4204, SETREGSET = 0x4205, XSTATE = 0x202 };

static char full[64 << 10]; /* the guest kernel has one processor and one thread that traces */

static long raw(long request, long pid, void *addr, void *data)
{
	return syscall(SYS_ptrace, request, pid, addr, data);
}

static long xstate(int request, long pid, void *addr, struct iovec *small)
{
	struct iovec big = { full, sizeof full };
	long rc = raw(GETREGSET, pid, addr, &big);
	if (rc < 0)
		return rc;
	size_t n = small->iov_len < big.iov_len ? small->iov_len : big.iov_len;
	if (request == GETREGSET) {
		memcpy(small->iov_base, full, n);
		small->iov_len = n;
		return 0;
	}
	memcpy(full, small->iov_base, n);
	return raw(SETREGSET, pid, addr, &big);
}

/* The C library's ptrace returns a peeked word, the system call stores it. */
long ptrace(int request, ...)
{
	va_list ap;
	va_start(ap, request);
	long pid = va_arg(ap, int);
	void *addr = va_arg(ap, void *), *data = va_arg(ap, void *);
	va_end(ap);
	if ((request == GETREGSET || request == SETREGSET) && (long)addr == XSTATE)
		return xstate(request, pid, addr, data);
	if (request >= PEEKTEXT && request <= PEEKUSER) {
		long word, rc = raw(request, pid, addr, &word);
		return rc < 0 ? rc : (errno = 0, word);
	}
	return raw(request, pid, addr, data);
}
