package run

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"penstock/outcome"
	"penstock/run/store"
	"penstock/spool"
)

func TestSpool_Tampered(t *testing.T) {
	m := open(t)
	for name, c := range map[string]struct{ does, says string }{
		"fifo":    {`cd $TMPDIR/..; rm spool; mkfifo spool; echo "d stop"`, "replaced"},
		"symlink": {`cd $TMPDIR/..; ln -sf /etc/hostname spool; echo "t a"; echo "d stop"`, "replaced"},
		"other":   {`cd $TMPDIR/..; mv spool x; cp x spool; echo "d stop"`, "replaced"},
		"gone":    {`echo "t a"; rm -rf "$(dirname $TMPDIR)"; echo "d stop"`, "removed"},
		"truncated": {`echo "2 one"; until [ -e $TMPDIR/read ]; do sleep 0.01; done
			: > /proc/self/fd/1; while :; do sleep 0.01; done`, ">> /dev/stdout"},
		"grown again": {`echo "2 one"; until [ -e $TMPDIR/read ]; do sleep 0.01; done
			echo "t a longer one than before" > /proc/self/fd/1; echo "d stop"`, ">> /dev/stdout"},
	} {
		t.Run(name, func(t *testing.T) {
			s := script(c.does)
			n := counted(t, &s)
			r := start(t, m, s)
			d := r.Follow(0)
			defer d.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if strings.Contains(c.does, "read") {
				if e, err := d.Next(ctx); err != nil || e.Text != "one" {
					t.Fatalf("first event: %+v, %v", e, err)
				}
				if err := os.WriteFile(filepath.Join(r.dir.File(store.TmpName), "read"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			for err == nil {
				_, err = d.Next(ctx)
			}
			if !errors.Is(err, io.EOF) {
				t.Errorf("live reader: %v", err)
			}
			if v := verdict(t, r, outcome.CLIError); !strings.Contains(v.Message, c.says) {
				t.Errorf("message %q, want %q in it", v.Message, c.says)
			}
			wait(t, "removal", r.done)
			if n.Load() != 1 {
				t.Errorf("OnGone called %d times", n.Load())
			}
			again := r.Follow(0)
			defer again.Close()
			if e, err := again.Next(ctx); !errors.Is(err, spool.ErrTampered) {
				t.Errorf("replay: %+v, %v", e, err)
			}
			_, onDisk, _, err := m.recall(r.ID())
			if err != nil || onDisk.State != Finished || onDisk.Cause != outcome.CLIError {
				t.Errorf("record on disk: %+v, %v", onDisk, err)
			}
		})
	}
}

func TestSpool_ShrunkStderrLosesOnlyItsTail(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`echo long note >&2; sleep 0.1; : > /proc/self/fd/2; echo "t a"; echo "d stop"`))
	verdict(t, r, outcome.Completed)
	if got := text(events(t, r.Follow(0))); got != "a" {
		t.Errorf("got %q", got)
	}
}

func TestSpool_ShrinksOnceFinished(t *testing.T) {
	m := open(t)
	r := start(t, m, script(`echo "t a"; echo "d stop"`))
	verdict(t, r, outcome.Completed)
	if err := os.Truncate(r.dir.File(store.SpoolName), 4); err != nil {
		t.Fatal(err)
	}
	d := r.Follow(0)
	defer d.Close()
	var err error
	for err == nil {
		_, err = d.Next(t.Context())
	}
	if !errors.Is(err, spool.ErrTampered) {
		t.Errorf("replay of a shrunk spool: %v", err)
	}
}
