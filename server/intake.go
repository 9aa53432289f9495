package server

import (
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"penstock/admit"
)

const (
	// bodiesMax is what the bodies of all requests may hold of memory that have not
	// begun to run: on their way here, being decoded, or as a prompt that waits.
	bodiesMax = 64 << 20
	// bodyFree is what each may hold uncounted, and bodyStep what is taken at a time.
	bodyFree, bodyStep = 64 << 10, 1 << 20
	// decodersMax is how many bodies beyond bodyFree are decoded at once; each may
	// need several times its size while it is.
	decodersMax = 2
	intakeWait  = 5 * time.Second // for room, and for a turn
)

// intake bounds what requests hold of the daemon's memory before admission.
type intake struct {
	bytes    *semaphore.Weighted
	decoders *semaphore.Weighted
}

func newIntake() *intake {
	return &intake{bytes: semaphore.NewWeighted(bodiesMax), decoders: semaphore.NewWeighted(decodersMax)}
}

// bodyLease is what one request holds.
type bodyLease struct {
	intake  *intake
	counted int64
	once    sync.Once
}

// release gives back all it holds; it may be called more than once, and on nil.
func (l *bodyLease) release() {
	if l == nil {
		return
	}
	l.once.Do(func() { l.intake.bytes.Release(l.counted) })
}

// metered is a body on its way, which takes room as it grows.
type metered struct {
	io.Reader
	ctx   context.Context
	lease *bodyLease
	read  int64
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.read += int64(n)
	for m.read > bodyFree+m.lease.counted {
		if err := m.lease.intake.acquire(m.ctx, m.lease.intake.bytes, bodyStep); err != nil {
			return 0, err
		}
		m.lease.counted += bodyStep
	}
	return n, err
}

// acquire waits for its share, not for long.
func (i *intake) acquire(ctx context.Context, of *semaphore.Weighted, n int64) error {
	if of.TryAcquire(n) {
		return nil
	}
	bound, cancel := context.WithTimeout(ctx, intakeWait)
	defer cancel()
	switch err := of.Acquire(bound, n); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return clientGone()
	}
	return admissionRefused(&admit.Refused{
		Reason: admit.QueueFull, RetryAfter: intakeWait,
		Detail: "too many large requests are being read, or wait with their prompts: nothing was started",
	})
}

// acquireDecoder is the right to decode a body; call done.
func (i *intake) acquireDecoder(ctx context.Context, size int) (done func(), err error) {
	if size <= bodyFree {
		return func() {}, nil
	}
	if err := i.acquire(ctx, i.decoders, 1); err != nil {
		return nil, err
	}
	return func() { i.decoders.Release(1) }, nil
}
