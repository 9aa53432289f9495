package web

import (
	"encoding/json"
	"net/http/httptest"
	"testing"
)

// A panic of ours is a 500 only where no run can be alive.
func TestRecoverInto_AfterStart(t *testing.T) {
	for status, admitted := range map[int]bool{400: true, 500: false} {
		rec := httptest.NewRecorder()
		func() {
			x := &RequestInfo{Admitted: admitted, RunID: "run_1"}
			defer recoverInto(x, NewReply(rec))
			panic("x")
		}()
		var body struct{ Error ErrorBody }
		if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil || rec.Code != status || body.Error.Code != "internal_error" {
			t.Errorf("%d %s %v, want %d", rec.Code, rec.Body, err, status)
		}
	}
}
