package web

import (
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"penstock/server/listener"
)

// What is written, is written with a deadline that moves on.
func TestReply_WritesInPieces(t *testing.T) {
	rec := httptest.NewRecorder()
	w := NewReply(rec)
	text := strings.Repeat("x", 3*writePiece+5)
	if n, err := w.Write([]byte(text)); n != len(text) || err != nil || rec.Body.String() != text || w.Bytes != int64(len(text)) || w.status != 200 {
		t.Errorf("%d %v %d %d", n, err, w.Bytes, w.status)
	}
}

// slowWriter takes its time for each byte and keeps the deadline it got.
type slowWriter struct {
	*httptest.ResponseRecorder
	late bool
	due  time.Time
}

func (w *slowWriter) SetWriteDeadline(t time.Time) error { w.due = t; return nil }

func (w *slowWriter) Write(p []byte) (int, error) {
	time.Sleep(20 * time.Second * time.Duration(len(p)) / writePiece)
	w.late = w.late || time.Now().After(w.due)
	return w.ResponseRecorder.Write(p)
}

// A reader that is slow but reads is never cut: each piece has its own time.
func TestReply_WriteDeadlineMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowWriter{ResponseRecorder: httptest.NewRecorder()}
		w := NewReply(slow)
		if _, err := w.Write(make([]byte, 5*writePiece)); err != nil {
			t.Fatal(err)
		}
		if slow.late || time.Until(slow.due) > listener.WriteStall+time.Second {
			t.Errorf("late %v, deadline in %v", slow.late, time.Until(slow.due))
		}
	})
}
