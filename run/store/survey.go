package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"penstock/run/history"
)

const (
	historyName = "history" // in the first place of the store
	// witnessName is of a file that each start of a version that knows no index removes as
	// an unfinished one: while it is there, no such daemon has changed what the index has.
	witnessName = ".new-history"
	// namesAtOnce is how many names of a directory are in memory at a time.
	namesAtOnce = 1024
	// surveyAtOnce is how many records are looked at at a time.
	surveyAtOnce = 4
)

// Survey is how the index and the files of the runs agree, as of when the state directory was opened.
type Survey struct {
	Unsettled []string // runs whose records don't say that they have ended
	Unindexed []string // runs that have ended, and that the index doesn't know
	Missing   int      // runs of the index whose files have gone
	Foreign   []string // paths that are no run's
	Index     history.Report
}

// openHistory opens the index and compares it with the files. An index that can't be
// opened at all is set aside like one of a later version, but not one that this user may
// not open: what it knows would be deleted.
func (s *StateDir) openHistory() (err error) {
	dir := filepath.Join(s.Store.places[0], historyName)
	s.Survey = Survey{}
	s.History, s.Survey.Index, err = history.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return anothers(s.Path, err)
	}
	if err != nil && !IsTransient(err) {
		aside := dir + ".unreadable"
		if moved := errors.Join(os.RemoveAll(aside), os.Rename(dir, aside)); moved != nil {
			return unwritable(s.Path, errors.Join(err, moved))
		}
		s.History, s.Survey.Index, err = history.Open(dir)
		s.Survey.Index.SetAside = aside
	}
	if err != nil {
		return unwritable(s.Path, err)
	}
	if err := s.survey(); err != nil {
		return errors.Join(fmt.Errorf("runs: %w", err), s.History.Close())
	}
	return nil
}

func anothers(dir string, err error) error {
	return fmt.Errorf("state directory: %s: the index of finished runs: %w (hint: a daemon of another user has made it: give it, or all of the directory, to this one's with chown -R)", dir, err)
}

// survey looks at the names of the runs with files in the store, and at the records of
// those of which the index doesn't say that they have ended.
func (s *StateDir) survey() error {
	witness := filepath.Join(s.Store.places[0], witnessName)
	_, err := os.Lstat(witness)
	known := err == nil
	at, err := os.Open(s.Store.Runs())
	if err != nil {
		return err
	}
	defer at.Close()
	var doubtful []string
	agree := 0
	for err == nil {
		var some []string
		some, err = at.Readdirnames(namesAtOnce)
		for _, name := range some {
			switch {
			case known && s.History.HasFile(name):
				agree++
			case CheckID(name) != nil:
				s.Survey.Foreign = append(s.Survey.Foreign, filepath.Join(s.Store.Runs(), name))
			default:
				doubtful = append(doubtful, name)
			}
		}
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	s.sortOut(int(at.Fd()), doubtful)
	s.dropMissing(agree)
	// Where it can't be made, the next start looks at all records.
	if f, err := os.OpenFile(witness, os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
		return f.Close()
	}
	return nil
}

// sortOut tells runs whose records say that they have ended from the others.
func (s *StateDir) sortOut(runs int, names []string) {
	var mu sync.Mutex
	var looks errgroup.Group
	looks.SetLimit(surveyAtOnce)
	const share = 256
	for begin := 0; begin < len(names); begin += share {
		looks.Go(func() error {
			for _, name := range names[begin:min(begin+share, len(names))] {
				ended := saysFinished(runs, name)
				path := filepath.Join(s.Store.Runs(), name)
				mu.Lock()
				switch {
				case !ended && !isDir(path):
					s.Survey.Foreign = append(s.Survey.Foreign, path)
				case !ended:
					s.Survey.Unsettled = append(s.Survey.Unsettled, name)
				case !s.History.HasFile(name):
					s.Survey.Unindexed = append(s.Survey.Unindexed, name)
				}
				mu.Unlock()
			}
			return nil
		})
	}
	_ = looks.Wait()
}

// saysFinished tells by the beginning of a record whether its run has ended. It is asked
// of all runs at once, so it reads no more than that.
func saysFinished(runs int, id string) bool {
	fd, err := unix.Openat(runs, id+"/"+recordName, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	want := `{"id":"` + id + `","object":"` + Object + `","state":"` + string(Finished) + `",`
	text := make([]byte, len(want))
	n, err := unix.Read(fd, text)
	return err == nil && n == len(want) && string(text) == want
}

// dropMissing takes runs out of the index whose files have gone, where not as many are
// there as the index has.
func (s *StateDir) dropMissing(agree int) {
	var filed []string
	n := 0
	s.History.Oldest(func(e history.Entry) bool {
		if e.Filed {
			n++
		}
		return true
	})
	if n == agree {
		return
	}
	s.History.Oldest(func(e history.Entry) bool {
		if e.Filed {
			filed = append(filed, e.ID)
		}
		return true
	})
	var missing []string
	for _, id := range filed {
		if _, err := os.Lstat(filepath.Join(s.Store.Runs(), id)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, id)
		}
	}
	s.Survey.Missing = len(missing)
	_ = s.History.Remove(missing...) // what can't be written down, as on a full disk, the next start finds again
}

func isDir(path string) bool {
	info, err := os.Lstat(path)
	return err == nil && info.IsDir()
}

// Exists tells whether a run has files in the store.
func (d *Dir) Exists() bool {
	_, err := os.Lstat(d.StorePath(""))
	return err == nil
}

// Unknown gives directories of runs of which nothing is known, which known says; so many at
// most.
func (s *StateDir) Unknown(known func(id string) bool, most int) (out []string, err error) {
	at, err := os.Open(s.Runs())
	if err != nil {
		return nil, err
	}
	defer at.Close()
	for err == nil && len(out) < most {
		var some []string
		some, err = at.Readdirnames(namesAtOnce)
		for _, name := range some {
			if len(out) < most && CheckID(name) == nil && !known(name) && isDir(filepath.Join(s.Runs(), name)) {
				out = append(out, name)
			}
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return out, err
}
