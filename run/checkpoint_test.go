package run

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/spawn"
)

func TestLiveIsWhatDurableRunsAreLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state [1]*") // nothing of it is a pattern
	lock, err := LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	for id, state := range map[string]State{"live": Running, "over": Finished, "brief": Running} {
		d := lock.state.directory(id)
		err := d.make(nil)
		if err == nil {
			err = d.save(Record{ID: id, State: state})
		}
		if err == nil && id != "brief" {
			err = d.saveCheckpoint(&checkpoint{Leader: 7})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "runs", "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	left, err := lock.Leftovers(func(string, string) Bounds { return Bounds{} })
	if diff := cmp.Diff([]spawn.Leftover{{ID: "live", Leader: 7}}, left); diff != "" || err != nil {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
}
