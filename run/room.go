package run

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"penstock/run/history"
	"penstock/run/store"
	"penstock/spawn"
)

const (
	// roomEvery is how often the room on the file system of the state directory is
	// looked at.
	roomEvery = 5 * time.Second
	// roomMax is how long the file system may take to answer.
	roomMax = 2 * time.Second
	// refusedSize is what is reclaimed, in bytes, where the disk has refused a start.
	refusedSize = 16 << 20
	// refusedMax is how often room is made for a start that the disk refuses.
	refusedMax = 4
	// minRoomPart bounds Options.MinFree on a small file system, to one of so many parts.
	minRoomPart = 10
	// minInodes is the low-water mark of files that can still be made.
	minInodes = 256
	// spareMax is how long a run that has ended is spared while no start needs the
	// room: its client may just be reading it.
	spareMax = time.Minute
	// recordSize is about what a finished run takes beside its output, in bytes.
	recordSize = 32 << 10
)

// Room is what the file system of the state directory has left.
type Room struct {
	Free  uint64 // bytes
	Least uint64 // the low-water mark, bytes
	// Low says what there is too little of, after finished runs' files were
	// reclaimed; "" is nothing.
	Low string
	// Removed says that the state directory, or what runs need of it, has gone.
	Removed bool
	// Broken says why no file can be made there, whatever room there is; "" is that one can.
	Broken string
}

// roomAt asks the file system; not ok where it doesn't say.
func roomAt(dir string, minFree int64) (r Room, ok bool) {
	var disk unix.Statfs_t
	if unix.Statfs(dir, &disk) != nil {
		return r, false
	}
	size := uint64(disk.Bsize)
	r.Free, r.Least = disk.Bavail*size, min(uint64(max(0, minFree)), disk.Blocks*size/minRoomPart)
	switch {
	case r.Free < r.Least:
		r.Low = fmt.Sprintf("%d MiB are free, and %d are the least", r.Free>>20, r.Least>>20)
	case r.Least > 0 && disk.Files > 0 && disk.Ffree < min(minInodes, disk.Files/minRoomPart):
		r.Low = fmt.Sprintf("%d files can still be made", disk.Ffree)
	}
	return r, true
}

// askRoom is roomAt with a bound: a file system that doesn't answer holds up
// nothing else, and is asked once at a time.
func (m *Manager) askRoom() (Room, bool) {
	if !m.asking.CompareAndSwap(false, true) {
		return Room{}, false
	}
	answer := make(chan *Room, 1)
	go func() {
		var found *Room
		if m.state.Removed() {
			found = &Room{Removed: true}
		} else if room, ok := m.o.roomAt(m.state.Path, m.o.MinFree); ok {
			room.Broken = m.askBroken()
			found = &room
		}
		m.asking.Store(false) // before the answer: what it leads to asks again
		answer <- found
	}()
	timer := time.NewTimer(roomMax)
	defer timer.Stop()
	select {
	case room := <-answer:
		if room != nil {
			return *room, true
		}
	case <-timer.C:
	}
	return Room{}, false
}

// askBroken tries to make a file, where a start has failed to; most file systems that have become
// read-only for an error of theirs say so in no other way.
func (m *Manager) askBroken() string {
	if !m.broken.Load() {
		return ""
	}
	why := brokenBy(m.state.Probe())
	m.broken.Store(why != "")
	return why
}

// brokenBy tells a file system that takes nothing any more, without the paths: anybody may
// ask for readiness.
func brokenBy(err error) string {
	for _, e := range []error{unix.EROFS, unix.EIO} {
		if errors.Is(err, e) {
			return e.Error()
		}
	}
	return ""
}

// reclaim removes finished runs, the oldest first, at least so many bytes and until
// there is room again, or none is left; keep.* says how long they may be kept, not
// must. Those that ended less than spare ago stay. Those that can't be saved go last: the
// room that others leave may be enough for their records. It tells how many went.
func (m *Manager) reclaim(bytes int64, spare time.Duration) (removed int) {
	m.reclaiming.Lock()
	defer m.reclaiming.Unlock()
	for !isClosed(m.quit) {
		room, ok := m.o.roomAt(m.state.Path, m.o.MinFree)
		if !ok {
			break
		}
		if room.Low != "" {
			bytes = max(bytes, int64(room.Least-min(room.Free, room.Least)), recordSize)
		}
		if bytes <= 0 {
			break
		}
		m.retrySaves() // then they go as any other
		n := m.pruneFor(time.Now(), bytes, spare)
		if n == 0 {
			n = m.removeUnsaved(spare)
		}
		if n == 0 {
			break
		}
		removed, bytes = removed+n, 0
	}
	if removed > 0 {
		m.reclaims.Add(1)
		m.log.Info("finished runs removed for want of room", "runs", removed)
	}
	return removed
}

// launchWithRoom is launch, again where the disk refused it and finished runs have made
// room since, be it for another start that was refused at the same time.
func (m *Manager) launchWithRoom(launch func() error) error {
	m.makeRoom()
	for range refusedMax {
		before := m.reclaims.Load()
		err := launch()
		if brokenBy(err) != "" {
			m.broken.Store(true)
		}
		if !wantsRoom(err) || m.reclaims.Load() == before && m.reclaim(refusedSize, 0) == 0 && m.reclaims.Load() == before {
			return err
		}
	}
	return launch()
}

// roomLoop keeps an eye on the room there is.
func (m *Manager) roomLoop() {
	tick := time.NewTicker(roomEvery)
	defer tick.Stop()
	for {
		m.checkRoom()
		select {
		case <-tick.C:
		case <-m.quit:
			return
		}
	}
}

// checkRoom looks once; one look at a time, so that none is stored over a later one.
func (m *Manager) checkRoom() {
	m.looking.Lock()
	defer m.looking.Unlock()
	room, ok := m.askRoom()
	if ok && room.Low != "" && m.reclaim(0, spareMax) > 0 {
		room, ok = m.askRoom()
	}
	if !ok {
		m.room.Store(nil)
		return
	}
	was := m.room.Swap(&room)
	if room.Removed && (was == nil || !was.Removed) {
		m.log.Error("no run can be started: restart penstock, and keep what cleans up, such as systemd-tmpfiles, out of its directories",
			"state_dir", m.state.Path, "err", store.ErrRemoved)
	}
	if room.Broken != "" && (was == nil || was.Broken == "") {
		m.log.Error("no run can be started: mount the file system read-write, or mend it", "state_dir", m.state.Path, "err", room.Broken)
	}
	if room.Low != "" && (was == nil || was.Low == "") {
		m.log.Warn("little room for what runs write: make room, or lower keep.min_free", "state_dir", m.state.Path, "low", room.Low)
	}
}

// Room is the last look at the file system of the state directory, nil where it
// doesn't answer. It waits for nothing.
func (m *Manager) Room() *Room { return m.room.Load() }

// makeRoom reclaims what finished runs hold before a start fails for want of it.
func (m *Manager) makeRoom() {
	if room := m.room.Load(); room != nil && room.Low != "" {
		m.reclaim(0, 0)
	}
}

// wantsRoom tells a start that the disk refused, and that left nothing behind.
func wantsRoom(err error) bool {
	var started *spawn.StartError
	return !errors.As(err, &started) && (errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT))
}

// saveLater keeps a run in memory whose final record there is no room for.
func (m *Manager) saveLater(r *Run, save func() error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.save = save
}

// retrySaves writes the final records for which there was no room: the next daemon
// would take such a run for lost.
func (m *Manager) retrySaves() {
	m.saving.Lock()
	defer m.saving.Unlock()
	for _, r := range m.unsaved() {
		if r.save() != nil {
			continue
		}
		m.mu.Lock()
		r.save = nil
		if isClosed(r.done) {
			delete(m.live, r.id)
		}
		m.mu.Unlock()
		r.log.Info("record saved at last")
	}
}

// unsaved are the runs whose final record there was no room for, the oldest first. Their
// save stays as it is while m.saving is held.
func (m *Manager) unsaved() []*Run {
	unsaved := slices.DeleteFunc(m.Live(), func(r *Run) bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return r.save == nil
	})
	slices.SortFunc(unsaved, func(a, b *Run) int { return endOf(a).Compare(endOf(b)) })
	return unsaved
}

func endOf(r *Run) time.Time {
	record := r.Record()
	return record.FinishedAt()
}

// removeUnsaved removes the oldest run whose final record there is no room for, of those that
// ended longer ago than spare and are gone: where such runs alone hold the disk, none could
// ever be saved or started again. It tells how many.
func (m *Manager) removeUnsaved(spare time.Duration) int {
	m.saving.Lock()
	defer m.saving.Unlock()
	for _, r := range m.unsaved() {
		record := r.Record()
		if !isClosed(r.done) || time.Since(record.FinishedAt()) < spare {
			continue
		}
		if m.removeUnsavedRun(r) == nil {
			r.log.Warn("run removed: its record could not be saved for want of room, nor a run be started")
			return 1
		}
	}
	return 0
}

// removeUnsavedRun removes such a run. m.saving is held.
func (m *Manager) removeUnsavedRun(r *Run) (err error) {
	record := r.Record()
	if record.Durable {
		m.pruned.Add(r.id, record.Client, r.fingerprint)
	}
	m.forget(r)
	e := history.Entry{ID: r.id, Client: record.Client, Filed: record.Durable, Asked: !record.Durable && r.dir != nil && r.dir.Asked > 0}
	m.removeFiles([]history.Entry{e}, func(_ string, failed error) {
		err = failed
		r.log.Warn("run not removed", "err", err)
		m.mu.Lock()
		m.live[r.id] = r
		m.mu.Unlock()
	})
	return err
}
