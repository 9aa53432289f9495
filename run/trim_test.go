package run

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"penstock/outcome"
	"penstock/run/store"
)

// onDisk is what a run's directory takes, in bytes.
func onDisk(t *testing.T, dir string) (total int64) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		var st unix.Stat_t
		if err != nil || !info.Mode().IsRegular() {
			return err
		}
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		total += max(st.Blocks*512, info.Size())
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// Whatever a run has left where its output lies, output_max is what stays.
func TestTrim_ToOutputMax(t *testing.T) {
	const most, room = 1 << 20, 256 << 10 // records, and what a file system rounds up
	m := open(t)
	for _, row := range []struct {
		name, script string
		want         outcome.Cause
	}{
		{"much at once", "head -c 50000000 /dev/zero; echo 'd stop'", outcome.OutputLimit},
		{"much on stderr", "head -c 50000000 /dev/zero >&2; echo 'd stop'", outcome.OutputLimit},
		{"both", "head -c 900000 /dev/zero | tr '\\0' '\\n'; head -c 50000000 /dev/zero >&2; echo 'd stop'", outcome.OutputLimit},
		{"room beyond the end", "fallocate -n -l 50M $DIR/spool; fallocate -n -l 50M $DIR/stderr; echo 'd stop'", outcome.Completed},
		{"and it may not be written to", "fallocate -n -l 50M $DIR/spool; chmod 0400 $DIR/spool; echo 'd stop'", outcome.Completed},
		{"another file in its place", "rm $DIR/stderr; head -c 50000000 /dev/zero >$DIR/stderr; echo 'd stop'", outcome.Completed},
		{"a tree in its place", "rm $DIR/spool; mkdir $DIR/spool; head -c 50000000 /dev/zero >$DIR/spool/x; echo 'd stop'", outcome.CLIError},
		{"scratch", "head -c 50000000 /dev/zero >$TMPDIR/x; head -c 50000000 /dev/zero >$DIR/prompt2; echo 'd stop'", outcome.Completed},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := script(`DIR=$(dirname "$TMPDIR"); `+row.script, func(s *Spec) { s.OutputMax, s.LineMax = most, most })
			r := start(t, m, s)
			verdict(t, r, row.want)
			wait(t, "its end", r.done)
			if n := onDisk(t, r.dir.Path); n > most+room {
				t.Errorf("%d bytes are left on disk of a run that may have %d", n, most)
			}
			if n := r.Record().OutputBytes; n > most {
				t.Errorf("%d bytes are recorded", n)
			}
		})
	}
}

// What was left by a run whose end no daemon has seen, too.
func TestTrim_OfALeftover(t *testing.T) {
	d := &store.Dir{Path: t.TempDir()}
	for _, name := range []string{store.SpoolName, store.StderrName} {
		if err := os.WriteFile(d.File(name), make([]byte, 3<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := trimLeftover(d, &store.Checkpoint{OutputMax: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	if n := onDisk(t, d.Path); n != 4<<20 {
		t.Errorf("%d bytes are left", n)
	}
	if err := trimLeftover(&store.Dir{Path: filepath.Join(d.Path, "gone")}, nil); err != nil {
		t.Error(err)
	}
}
