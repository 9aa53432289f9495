package admit

import "slices"

const (
	// peaksKept and peaksNeeded: enough for a 95th percentile to mean something.
	peaksKept   = 200
	peaksNeeded = 20
	// peakFloor is reserved for any run, however small its kind was so far.
	peakFloor = 64 * mib
)

// peaks are the latest memory peaks of each backend's runs.
type peaks map[string]*history

type history struct {
	last   []int64 // bytes; a ring
	at     int
	p95    int64
	enough bool
}

// learn takes in one run's peak, in bytes.
func (p peaks) learn(backend string, peak int64) {
	h := p[backend]
	if h == nil {
		h = &history{}
		p[backend] = h
	}
	if len(h.last) < peaksKept {
		h.last = append(h.last, peak)
	} else {
		h.last[h.at] = peak
		h.at = (h.at + 1) % peaksKept
	}
	h.enough = len(h.last) >= peaksNeeded
	sorted := slices.Sorted(slices.Values(h.last))
	h.p95 = sorted[(len(sorted)*95+99)/100-1]
}

// expect is what a run of a backend will need: the 95th percentile and a tenth
// on top, never above its cap. Too few runs are no basis: then it is the cap.
func (p peaks) expect(backend string, limit int64) int64 {
	h := p[backend]
	if h == nil || !h.enough {
		return limit
	}
	return min(limit, max(peakFloor, h.p95+h.p95/10))
}
