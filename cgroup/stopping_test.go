package cgroup

import (
	"testing"
)

// Where no manager has made the root, none is asked.
func TestRoot_StoppingWithoutManager(t *testing.T) {
	r := &Root{path: "/sys/fs/cgroup/somewhere/penstock-1"}
	if stops, err := r.Stopping(t.Context()); stops || err != nil {
		t.Errorf("%v, %v", stops, err)
	}
}
