package store

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"penstock/run/history"
)

// An error of the host's says nothing of a run: neither that it was never started, nor that
// it is as its checkpoint was before the start.
func TestRecall_HostError(t *testing.T) {
	started := Record{ID: "r", State: Running}
	lost := Record{ID: "r", State: Finished}
	for _, host := range []error{unix.EIO, unix.EMFILE, unix.ENFILE, unix.ENOMEM} {
		failed := &os.PathError{Op: "open", Path: "run.json", Err: host}
		for _, cp := range []*Checkpoint{nil, {Record: started}} {
			if found, err := recalled("r", cp, nil, lost, failed); !errors.Is(err, host) || found.Rebuilt != (cp != nil) {
				t.Errorf("%v: %+v, %v", host, found, err)
			}
		}
		if found, err := recalled("r", &Checkpoint{Record: Record{ID: "other"}}, nil, lost, failed); !errors.Is(err, host) || found.Rebuilt {
			t.Errorf("%v, the checkpoint is another's: %+v, %v", host, found, err)
		}
		if found, err := recalled("r", nil, failed, lost, os.ErrNotExist); !errors.Is(err, host) {
			t.Errorf("%v of the checkpoint: %+v, %v", host, found, err)
		}
	}
	if found, err := recalled("r", &Checkpoint{Record: started}, nil, lost, errors.New("torn")); err != nil || !found.Rebuilt {
		t.Errorf("torn: %+v, %v", found, err)
	}
}

// That files of finished runs have gone keeps no daemon from its start, also where the index
// takes no line, as on a full disk: the runs are not shown, and the next start finds the same.
func TestSurvey_MissingOnAFullDisk(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	at := time.Now()
	if err := s.History.Finish(history.Entry{ID: "r", Created: at, Ended: at, Filed: true}, nil); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(s.Store.places[0], historyName)
	if err := errors.Join(os.RemoveAll(index), os.WriteFile(index, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := s.survey(); err != nil {
		t.Fatal(err)
	}
	if s.Survey.Missing != 1 || s.History.Has("r") {
		t.Errorf("%+v, shown: %v", s.Survey, s.History.Has("r"))
	}
}
