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

// growth announces writes to some files until it is stopped.
type growth struct {
	stop func()
}

// watchGrowth never fails: without watches it polls.
func watchGrowth(n *notifier, p *pulse, log *slog.Logger, paths ...string) growth {
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
			return poll(p, paths)
		}
		wd, err := n.watch(path, p)
		if err != nil {
			release()
			log.Warn("no inotify watch: the run's output is polled (hint: raise fs.inotify.max_user_watches)", "every", pollEvery, "err", err)
			return poll(p, paths)
		}
		wds = append(wds, wd)
	}
	return growth{stop: sync.OnceFunc(release)}
}

func poll(p *pulse, paths []string) growth {
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
				p.beat()
			}
		}
	})
	return growth{stop: func() {
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
