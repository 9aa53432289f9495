package spawn

import (
	"context"
	"testing"
	"time"
)

// Under load the supervisor of a detached tree runs late: the tree is still among the
// live ones when the Spawner closes, and its end is never told.
func TestEndAll_DetachedIsNotWaitedFor(t *testing.T) {
	s := open(t, false)
	p, err := s.Start(t.Context(), Command{ID: "detached", Argv: []string{"/bin/sleep", "60"}, Dir: "/"})
	if err != nil {
		t.Fatal(err)
	}
	if !p.Detach() {
		t.Fatal("not detached")
	}
	eventually(t, "its supervisor's end", func() bool { return len(s.processes()) == 0 })
	s.live[p] = struct{}{} // as before that
	ended := make(chan int, 1)
	go func() {
		n, _ := s.endAll(context.Background())
		ended <- n
	}()
	select {
	case n := <-ended:
		if n != 0 {
			t.Errorf("%d trees ended, want none", n)
		}
	case <-time.After(10 * time.Second):
		t.Error("endAll waits for a tree that was detached")
	}
	if err := p.group.Kill(); err != nil {
		t.Error(err)
	}
	delete(s.live, p)
}
