package web

import (
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// Bodies together hold no more than is written down, those that wait for room get
// it or a refusal, and what is given back can be had.
func TestIntake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := NewIntake()
		take := func(n int64) (*BodyLease, error) {
			l := in.NewLease()
			_, err := io.Copy(io.Discard, l.Meter(t.Context(), io.LimitReader(endless{}, n)))
			return l, err
		}
		var all []*BodyLease
		for range bodiesMax / BodyMax {
			l, err := take(BodyMax)
			if err != nil || l.counted < BodyMax-bodyFree || l.counted > BodyMax {
				t.Fatalf("%d are counted: %v", l.counted, err)
			}
			all = append(all, l)
		}
		if _, err := take(bodyFree); err != nil {
			t.Errorf("a small one has to wait: %v", err)
		}
		l, err := take(BodyMax)
		var refused *Error
		if !errors.As(err, &refused) || refused.Status != http.StatusTooManyRequests || refused.Code != "queue_full" || refused.RetryAfter <= 0 || !refused.Refused {
			t.Fatalf("the ninth is told %v", err)
		}
		l.Release()
		all[0].Release()
		all[0].Release()
		if _, err := take(BodyMax); err != nil {
			t.Errorf("with room again: %v", err)
		}
		first, err := in.AcquireDecoder(t.Context(), BodyMax)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.AcquireDecoder(t.Context(), BodyMax); err != nil {
			t.Fatal(err)
		}
		if _, err := in.AcquireDecoder(t.Context(), BodyMax); !errors.As(err, &refused) {
			t.Errorf("a third is decoded beside two: %v", err)
		}
		first()
		if _, err := in.AcquireDecoder(t.Context(), BodyMax); err != nil {
			t.Error(err)
		}
	})
}

type endless struct{}

// A body has to make progress, and may take its time.
func TestPaced_Deadline(t *testing.T) {
	begun := time.Now()
	for _, row := range []struct {
		after time.Duration
		read  int64
		left  time.Duration
	}{
		{0, 0, bodyStall},
		{bodyStall - time.Second, 0, time.Second},                     // not one byte
		{time.Second, 1 << 20, bodyStall},                             // fast: only a standstill counts
		{10 * time.Minute, bodyPace * 600, bodyStall},                 // slow and steady
		{10 * time.Minute, bodyPace * 300, bodyStall - 5*time.Minute}, // a trickle
		{time.Hour, BodyMax, bodyStall}, {3 * time.Hour, BodyMax, bodyStall + BodyMax/bodyPace*time.Second - 3*time.Hour},
	} {
		p := &paced{begun: begun, read: row.read}
		now := begun.Add(row.after)
		if left := p.deadline(now).Sub(now); left != row.left {
			t.Errorf("%d bytes after %s: %s are left, want %s", row.read, row.after, left, row.left)
		}
	}
}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// What a small request has read again counts as its body would, and takes a turn; a large one
// has its turn.
func TestIntake_ReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := NewIntake()
		var nothing *BodyLease
		if err := nothing.Take(t.Context(), BodyMax); err != nil {
			t.Error(err)
		}
		l := in.NewLease()
		if err := l.Take(t.Context(), bodiesMax); err != nil || l.counted != bodiesMax {
			t.Errorf("%d are counted: %v", l.counted, err)
		}
		var refused *Error
		if err := in.NewLease().Take(t.Context(), BodyMax); !errors.As(err, &refused) || refused.Code != "queue_full" {
			t.Errorf("beyond what there is: %v", err)
		}
		l.Release()
		for range decodersMax {
			if _, err := in.AcquireReader(t.Context(), 0); err != nil {
				t.Error(err)
			}
		}
		if _, err := in.AcquireReader(t.Context(), 0); !errors.As(err, &refused) || refused.Code != "queue_full" {
			t.Errorf("one more: %v", err)
		}
		done, err := in.AcquireReader(t.Context(), BodyMax)
		if err != nil {
			t.Fatalf("of a large body: %v", err)
		}
		done()
	})
}
