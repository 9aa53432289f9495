package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// replies answers request after request with the texts given; "" is a daemon
// that isn't there. It keeps what was asked for.
type replies struct {
	texts []string
	after []string // Last-Event-ID of each request
}

func (r *replies) RoundTrip(req *http.Request) (*http.Response, error) {
	n := len(r.after)
	r.after = append(r.after, req.Header.Get("Last-Event-ID"))
	text := r.texts[min(n, len(r.texts)-1)]
	if text == "" {
		return nil, errors.New("connection refused")
	}
	if status, body, ok := strings.Cut(text, " {"); ok && len(status) == 3 {
		var code int
		fmt.Sscan(status, &code)
		return &http.Response{StatusCode: code, Status: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("{" + body)), Request: req}, nil
	}
	body := io.Reader(strings.NewReader(text))
	if strings.HasSuffix(text, "...") { // says no more, and stays
		silent, w := io.Pipe()
		context.AfterFunc(req.Context(), func() { w.CloseWithError(context.Cause(req.Context())) })
		body = io.MultiReader(strings.NewReader(strings.TrimSuffix(text, "...")), silent)
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"X-Run-Id": {"run_x"}}, Body: io.NopCloser(body), Request: req}, nil
}

func say(id int, text string) string {
	return strings.TrimSuffix(piece(text), "\n") + fmt.Sprintf("id: %d\n\n", id)
}

// piece is a part of an event that more parts follow.
func piece(text string) string {
	return fmt.Sprintf("data: {\"choices\":[{\"delta\":{\"content\":%q}}]}\n\n", text)
}

const (
	finish = "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\nid: 9\n\n"
	done   = "data: [DONE]\n\n"
	failed = "data: {\"error\":{\"message\":\"no memory\",\"code\":\"memory_limit\",\"run_id\":\"run_x\",\"receipt\":{\"memory_peak_bytes\":7}}}\n\n" + done
)

// play reads a stream to its end.
func play(t *testing.T, durable bool, texts ...string) (text string, comments []string, r *replies, err error) {
	t.Helper()
	r = &replies{texts: texts}
	c, err := New("http://daemon", "")
	if err != nil {
		t.Fatal(err)
	}
	c.http.Transport = r
	ask := Ask{Model: "demo", Prompt: "x"}
	if durable {
		ask.RunID = "run_x"
	}
	s, err := c.Chat(t.Context(), ask)
	if err != nil {
		return "", nil, r, err
	}
	defer s.Close()
	for {
		e, err := s.Next()
		if err != nil {
			if again, same := s.Next(); !errors.Is(same, err) {
				t.Errorf("after the end: %+v, %v", again, same)
			}
			return text, comments, r, err
		}
		text += e.Text
		if e.Comment != "" {
			comments = append(comments, e.Comment)
		}
	}
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, comments, _, err := play(t, false, ": queued position=2\n\n: ping\r\n\r\n: ping\n"+say(1, "grüß ")+say(2, "dich")+": notice: slow\n\n"+finish+done)
		if text != "grüß dich" || !errors.Is(err, io.EOF) || len(comments) != 4 || comments[0] != "queued position=2" {
			t.Errorf("%q, %q, %v", text, comments, err)
		}
		long := strings.Repeat("x", 1<<20)
		if text, _, _, err = play(t, false, say(1, long)+finish+done); text != long || !errors.Is(err, io.EOF) {
			t.Errorf("a long line: %d bytes, %v", len(text), err)
		}
	})
}

func TestStream_ErrorFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, _, r, err := play(t, true, say(1, "so far")+failed)
		var told *Error
		if text != "so far" || !errors.As(err, &told) || told.Code != "memory_limit" || *told.Receipt.MemoryPeakBytes != 7 || len(r.after) != 1 {
			t.Errorf("%q, %v, %d requests", text, err, len(r.after))
		}
	})
}

// A stream that just ends is never taken for a whole answer.
func TestStream_Cut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, text := range map[string]string{
			"between frames": say(1, "so far"), "inside a frame": say(1, "so far") + "data: {\"cho", "after the finish": say(1, "so far") + finish,
			"silence": say(1, "so far") + "...",
		} {
			answer, _, r, err := play(t, false, text)
			var cut *Cut
			if answer != "so far" || !errors.As(err, &cut) || errors.Is(err, io.EOF) || cut.RunID != "run_x" || cut.Tries != 0 || len(r.after) != 1 {
				t.Errorf("%s: %q, %v, %d requests", name, answer, err, len(r.after))
			}
		}
	})
}

// A durable run is attached to again where it was left, also when its daemon is
// away for a while.
func TestStream_Reattach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		draining := `503 {"error":{"message":"draining","code":"shutting_down"}}`
		text, _, r, err := play(t, true, say(1, "a")+say(2, "b"), draining, "", say(3, "c")+"...", say(4, "d")+finish+done)
		if text != "abcd" || !errors.Is(err, io.EOF) {
			t.Errorf("%q, %v", text, err)
		}
		if diff := cmp.Diff([]string{"", "2", "2", "2", "3"}, r.after); diff != "" {
			t.Errorf("Last-Event-ID (-want +got):\n%s", diff)
		}
	})
}

// What was told of an event that was cut is not told again, however it is cut then.
func TestStream_ReattachInsideEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text, _, r, err := play(t, true, say(1, "a")+piece("bc")+piece("d"), piece("b"), piece("bcde")+say(2, "fg")+say(3, "h")+finish+done)
		if text != "abcdefgh" || !errors.Is(err, io.EOF) {
			t.Errorf("%q, %v", text, err)
		}
		if diff := cmp.Diff([]string{"", "1", "1"}, r.after); diff != "" {
			t.Errorf("Last-Event-ID (-want +got):\n%s", diff)
		}
	})
}

// A daemon that makes way says that the run goes on; one that stops says that it
// ended the run.
func TestStream_HandedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		frame := "data: {\"error\":{\"message\":\"replaced\",\"type\":\"%s\",\"code\":\"shutting_down\"}}\n\n" + done
		text, _, r, err := play(t, true, say(1, "a")+fmt.Sprintf(frame, "server_error"), say(2, "b")+finish+done)
		if text != "ab" || !errors.Is(err, io.EOF) {
			t.Errorf("%q, %v", text, err)
		}
		if diff := cmp.Diff([]string{"", "1"}, r.after); diff != "" {
			t.Errorf("Last-Event-ID (-want +got):\n%s", diff)
		}
		var told *Error
		if _, _, r, err = play(t, true, say(1, "a")+fmt.Sprintf(frame, "run_error")); !errors.As(err, &told) || len(r.after) != 1 {
			t.Errorf("ended: %v, %d requests", err, len(r.after))
		}
		if _, _, r, err = play(t, false, say(1, "a")+fmt.Sprintf(frame, "server_error")); !errors.As(err, &told) || len(r.after) != 1 {
			t.Errorf("not durable: %v, %d requests", err, len(r.after))
		}
	})
}

func TestStream_ReattachBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, r, err := play(t, true, say(1, "a"), "")
		var cut *Cut
		var absent *Unreachable
		if !errors.As(err, &cut) || cut.Tries != triesMax || !errors.As(err, &absent) || len(r.after) != 1+triesMax {
			t.Errorf("%v, %d requests", err, len(r.after))
		}
		// A daemon that is there and cuts each time is no better.
		if _, _, r, err = play(t, true, say(1, "a"), ": run run_x\n\n"); !errors.As(err, &cut) || len(r.after) != 1+triesMax {
			t.Errorf("%v, %d requests", err, len(r.after))
		}
		// What waiting can't mend is not tried again.
		var told *Error
		if _, _, r, err = play(t, true, say(1, "a"), `409 {"error":{"message":"taken","code":"run_id_conflict"}}`); !errors.As(err, &told) || told.Code != "run_id_conflict" || len(r.after) != 2 {
			t.Errorf("%v, %d requests", err, len(r.after))
		}
	})
}
