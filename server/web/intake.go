package web

import (
	"context"
	"io"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"penstock/internal/bytesize"
	"penstock/outcome"
)

const (
	BodyMax = 8 << 20 // bytes, decoded
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

// Intake bounds what requests hold of the daemon's memory before admission.
type Intake struct {
	bytes    *semaphore.Weighted
	decoders *semaphore.Weighted
}

func NewIntake() *Intake {
	return &Intake{bytes: semaphore.NewWeighted(bodiesMax), decoders: semaphore.NewWeighted(decodersMax)}
}

// Idle tells whether no request holds anything.
func (i *Intake) Idle() bool {
	if !i.bytes.TryAcquire(bodiesMax) {
		return false
	}
	defer i.bytes.Release(bodiesMax)
	if !i.decoders.TryAcquire(decodersMax) {
		return false
	}
	i.decoders.Release(decodersMax)
	return true
}

// NewLease holds nothing yet.
func (i *Intake) NewLease() *BodyLease { return &BodyLease{intake: i} }

// BodyLease is what one request holds.
type BodyLease struct {
	intake  *Intake
	read    int64
	counted int64
	once    sync.Once
}

// Meter counts what is read from r among what the request holds, as its body is; on nil it
// counts nothing. Only one reader of a lease may be read from at a time.
func (l *BodyLease) Meter(ctx context.Context, r io.Reader) io.Reader {
	if l == nil {
		return r
	}
	return &metered{Reader: r, ctx: ctx, lease: l}
}

// Release gives back all it holds; it may be called more than once, and on nil.
func (l *BodyLease) Release() {
	if l == nil {
		return
	}
	l.once.Do(func() { l.intake.bytes.Release(l.counted) })
}

// metered is a body on its way, which takes room as it grows.
type metered struct {
	io.Reader
	ctx   context.Context
	lease *BodyLease
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if err := m.lease.Take(m.ctx, n); err != nil {
		return 0, err
	}
	return n, err
}

// Take counts n bytes more among what the request holds; on nil it counts nothing.
func (l *BodyLease) Take(ctx context.Context, n int) error {
	if l == nil {
		return nil
	}
	l.read += int64(n)
	for l.read > bodyFree+l.counted {
		if err := l.intake.acquire(ctx, l.intake.bytes, bodyStep); err != nil {
			return err
		}
		l.counted += bodyStep
	}
	return nil
}

func tooLarge() *Error {
	return Errorf(BodyTooLarge, "the body is over %s", bytesize.Human(BodyMax))
}

// acquire waits for its share, not for long.
func (i *Intake) acquire(ctx context.Context, of *semaphore.Weighted, n int64) error {
	if of.TryAcquire(n) {
		return nil
	}
	bound, cancel := context.WithTimeout(ctx, intakeWait)
	defer cancel()
	switch err := of.Acquire(bound, n); {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ClientGone(nil)
	}
	return OverCapacity(Code(outcome.QueueFull), "too many large requests are being read, or wait with their prompts: nothing was started", intakeWait)
}

// AcquireDecoder is the right to decode a body; call done.
func (i *Intake) AcquireDecoder(ctx context.Context, size int) (done func(), err error) {
	if size <= bodyFree {
		return func() {}, nil
	}
	if err := i.acquire(ctx, i.decoders, 1); err != nil {
		return nil, err
	}
	return func() { i.decoders.Release(1) }, nil
}

// AcquireReader is the right to read again what is as large as a body, for a request whose own
// body has that size, and the right to decode that; call done.
func (i *Intake) AcquireReader(ctx context.Context, size int) (done func(), err error) {
	if size > bodyFree {
		return func() {}, nil
	}
	return i.AcquireDecoder(ctx, BodyMax)
}
