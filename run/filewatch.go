package run

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"time"
)

// pollEvery is how often a run's outputs are looked at where inotify is not to
// be had (fs.inotify.max_user_watches or max_user_instances used up).
const pollEvery = 50 * time.Millisecond

// fileWatch announces writes to some files until it is stopped.
type fileWatch struct {
	stop func()
}

// watchFiles never fails: without watches it polls.
func watchFiles(n *notifier, b *broadcast, log *slog.Logger, paths ...string) fileWatch {
	var wds []int32
	release := func() {
		for _, wd := range wds {
			if err := n.forget(wd); err != nil {
				log.Warn("watch not removed", "err", err)
			}
		}
	}
	for _, path := range paths {
		if n == nil {
			return poll(b, paths)
		}
		wd, err := n.watch(path, b)
		if err != nil {
			release()
			log.Warn("no inotify watch: the run's output is polled (hint: raise fs.inotify.max_user_watches)", "every", pollEvery, "err", err)
			return poll(b, paths)
		}
		wds = append(wds, wd)
	}
	return fileWatch{stop: sync.OnceFunc(release)}
}

func poll(b *broadcast, paths []string) fileWatch {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(pollEvery)
		defer tick.Stop()
		var last int64
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if now := totalSize(paths); now != last {
				last = now
				b.signal()
			}
		}
	})
	return fileWatch{stop: func() {
		cancel()
		done.Wait()
	}}
}

func totalSize(paths []string) (total int64) {
	for _, path := range paths {
		if info, err := os.Stat(path); err == nil {
			total += info.Size()
		}
	}
	return total
}
