package sessions

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestLocks(t *testing.T) {
	var line Locks
	first, err := line.Acquire(t.Context(), nil, "k", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := line.TryAcquire("k"); ok {
		t.Error("a held turn was given away")
	}
	other, err := line.Acquire(t.Context(), nil, "other", nil)
	if err != nil {
		t.Fatal(err)
	}
	other()
	stop := make(chan struct{})
	close(stop)
	if _, err := line.Acquire(t.Context(), stop, "k", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: %v", err)
	}
	second := make(chan func())
	go func() {
		release, err := line.Acquire(context.Background(), nil, "k", nil)
		if err != nil {
			t.Error(err)
		}
		second <- release
	}()
	first()
	first()
	release := <-second
	release()
	if release, ok := line.TryAcquire("k"); !ok {
		t.Error("a free turn was refused")
	} else {
		release()
	}
	if line.Len() != 0 {
		t.Errorf("left: %d", line.Len())
	}
}

// Of many that try at once exactly one has the lock.
func TestLocks_TriedAtOnce(t *testing.T) {
	var locks Locks
	for range 200 {
		var all sync.WaitGroup
		var got atomic.Int32
		for range 8 {
			all.Go(func() {
				if _, ok := locks.TryAcquire("k"); ok {
					got.Add(1)
				}
			})
		}
		all.Wait()
		if got.Load() != 1 {
			t.Fatalf("%d have it", got.Load())
		}
		locks = Locks{}
	}
}
