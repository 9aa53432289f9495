package server

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// One run has one receipt, wherever it is shown: the whole answer, the chunk
// with the usage, the error object, the error frame and the run's own record.
func TestOneReceiptEverywhere(t *testing.T) {
	s := serve(t, nil)
	held := s.healthNow().Isolation
	for _, row := range []struct {
		name, prompt, more string
		stream             bool
	}{
		{"whole", "echo fine", "", false},
		{"stream", "echo fine", `,"stream_options":{"include_usage":true}`, true},
		{"whole, failed", "echo bad; exit 3", "", false},
		{"stream, failed", "echo bad; exit 3", "", true},
		{"pids", "i=0; while [ $i -lt 200 ]; do sleep 60 & i=$((i+1)); done; wait", `,"limits":{"pids_max":8}`, false},
		{"deadline", "sleep 60", `,"timeout_ms":400`, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := s.chat("sh", row.prompt, row.stream, row.more)
			var shown any
			switch {
			case r.err != nil && r.err.Receipt != nil:
				shown = r.err.Receipt
			case len(r.chunks) > 0 && r.chunks[len(r.chunks)-1].Receipt != nil:
				shown = r.chunks[len(r.chunks)-1].Receipt
			default:
				t.Fatalf("no receipt in %s", r.body)
			}
			var record struct {
				Receipt    map[string]any
				EnforcedBy map[string]any `json:"enforced_by"`
			}
			if err := json.Unmarshal([]byte(s.ask("GET", "/v1/runs/"+r.header.Get("X-Run-Id"), "").body), &record); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(record.Receipt, asMap(t, shown)); diff != "" {
				t.Errorf("receipt (-record +shown):\n%s", diff)
			}
			if diff := cmp.Diff(record.EnforcedBy, record.Receipt["enforced_by"]); diff != "" {
				t.Errorf("enforced_by (-record +receipt):\n%s", diff)
			}
			if by := record.EnforcedBy; by["memory"] != string(held.Memory) || by["pids"] != string(held.Pids) || by["kill"] != "kernel" {
				t.Errorf("held by %v, and health says %+v", by, held)
			}
			for name, v := range record.Receipt {
				if v == nil {
					t.Errorf("%s is null, want it absent", name)
				}
			}
		})
	}
}

func asMap(t *testing.T, v any) (m map[string]any) {
	t.Helper()
	text, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}
