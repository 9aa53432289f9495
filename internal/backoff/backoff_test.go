package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPolicy_Delay(t *testing.T) {
	growing := Policy{First: 250 * time.Millisecond, Max: 5 * time.Second}
	for try, want := range map[int]time.Duration{0: 250 * time.Millisecond, 1: 500 * time.Millisecond, 4: 4 * time.Second, 5: 5 * time.Second, 1 << 20: 5 * time.Second} {
		if got := growing.Delay(try); got != want {
			t.Errorf("try %d: %s, want %s", try, got, want)
		}
	}
	if got := (Policy{First: time.Second}).Delay(9); got != time.Second {
		t.Errorf("a pause that stays is %s", got)
	}
}

func TestPolicy_Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if err := (Policy{First: time.Second}).Wait(t.Context(), 0); err != nil || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		why := errors.New("over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, why)
		defer cancel()
		if err := (Policy{First: time.Hour}).Wait(ctx, 3); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
	})
}
