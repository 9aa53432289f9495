package health

import (
	"context"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/prometheus/procfs"

	"penstock/internal/procinfo"
)

const procEvery = time.Second

// ProcStats is what /health says of the daemon and the host; nil is unknown.
type ProcStats struct {
	RSS        *uint64
	FDs        *int
	Threads    *int
	Goroutines int
	Available  *uint64  // bytes: MemAvailable of /proc/meminfo
	Total      *uint64  // bytes: MemTotal
	SomeAvg10  *float64 // percent: /proc/pressure/memory
	FullAvg10  *float64
}

// ProcSampler reads /proc in the background, so that /health need not.
type ProcSampler struct {
	now atomic.Pointer[ProcStats]
	log *slog.Logger
	fs  *procfs.FS
}

func NewProcSampler(log *slog.Logger) *ProcSampler {
	s := &ProcSampler{log: log}
	if fs, err := procfs.NewDefaultFS(); err == nil {
		s.fs = &fs
	} else {
		log.Warn("no readings of the daemon itself", "err", err)
	}
	s.now.Store(s.read())
	return s
}

func (s *ProcSampler) Sample() ProcStats { return *s.now.Load() }

func (s *ProcSampler) Loop(ctx context.Context) {
	tick := time.NewTicker(procEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.now.Store(s.read())
		}
	}
}

// read takes what the host offers. RSS is VmRSS of status: the field of stat
// lags behind by up to 64 pages a thread (proc(5)).
func (s *ProcSampler) read() *ProcStats {
	out := &ProcStats{Goroutines: runtime.NumGoroutine()}
	if s.fs == nil {
		return out
	}
	if self, err := s.fs.Self(); err == nil {
		if status, err := self.NewStatus(); err == nil {
			out.RSS = &status.VmRSS
		}
		if n, err := self.FileDescriptorsLen(); err == nil {
			out.FDs = &n
		}
		if stat, err := self.Stat(); err == nil {
			out.Threads = &stat.NumThreads
		}
	}
	if memory, err := procinfo.Host.Memory(); err == nil {
		out.Available, out.Total = memory.Available, memory.Total
	}
	if psi, err := s.fs.PSIStatsForResource("memory"); err == nil {
		if psi.Some != nil {
			out.SomeAvg10 = &psi.Some.Avg10
		}
		if psi.Full != nil {
			out.FullAvg10 = &psi.Full.Avg10
		}
	}
	return out
}
