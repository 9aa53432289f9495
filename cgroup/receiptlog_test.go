package cgroup

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A log line tells a receipt as the API does: the same names, the same figures,
// and of neither more than is known.
func TestReceipt_LogValue(t *testing.T) {
	full := Receipt{OOMAt: OOMRuns, Exceeded: "budget", Estimated: []string{"memory"}, EnforcedBy: Enforced{Memory: Kernel, Pids: Watch, Kill: Kernel, CPU: Kernel}}
	v := reflect.ValueOf(&full).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Type() == reflect.TypeFor[*uint64]() {
			n := uint64(i + 1)
			f.Set(reflect.ValueOf(&n))
		}
	}
	for name, rec := range map[string]Receipt{"full": full, "nothing known": {}} {
		var line bytes.Buffer
		slog.New(slog.NewJSONHandler(&line, nil)).Info("x", "receipt", rec)
		var got struct{ Receipt map[string]any }
		if err := json.Unmarshal(line.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(rec)
		if err != nil {
			t.Fatal(err)
		}
		var want map[string]any
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got.Receipt); diff != "" {
			t.Errorf("%s (-JSON +log):\n%s", name, diff)
		}
	}
}
