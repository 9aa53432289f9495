package answer

// spansMax bounds what is remembered of one run's takings back, 1 MiB. A CLI
// takes back a message now and then, not each of a hundred thousand.
const spansMax = 1 << 16

// span is a range of all the text a CLI said, in bytes.
type span struct{ from, to int64 }

// keptSpans tells which of all the text that a CLI said is its answer, after what
// it took back.
type keptSpans struct {
	total int64
	valid int64  // bytes of the answer, the sum of spans
	spans []span // in order, none empty, no two that touch
	over  bool   // more than spansMax were needed: the answer is not known
}

func (k *keptSpans) text(n int) {
	from := k.total
	k.total += int64(n)
	k.valid += int64(n)
	last := len(k.spans) - 1
	switch {
	case n == 0 || k.over:
	case last >= 0 && k.spans[last].to == from:
		k.spans[last].to = k.total
	case last+1 == spansMax:
		k.over, k.spans = true, nil
	default:
		k.spans = append(k.spans, span{from, k.total})
	}
}

// void keeps the first keep bytes of the answer.
func (k *keptSpans) void(keep int) {
	for last := len(k.spans) - 1; last >= 0; last-- {
		s := &k.spans[last]
		excess := k.valid - int64(max(keep, 0))
		if excess <= 0 {
			return
		}
		length := s.to - s.from
		if excess < length {
			s.to -= excess
			k.valid -= excess
			return
		}
		k.spans = k.spans[:last]
		k.valid -= length
	}
}

// spanFilter lets the kept spans of a text pass that comes again from its start.
type spanFilter struct {
	spans []span
	at    int64
}

func (s *spanFilter) text(piece string, pass func(string)) {
	begin, end := s.at, s.at+int64(len(piece))
	s.at = end
	for len(s.spans) > 0 && s.spans[0].from < end {
		next := s.spans[0]
		from, to := max(next.from, begin), min(next.to, end)
		if from < to {
			pass(piece[from-begin : to-begin])
		}
		if next.to > end {
			break
		}
		s.spans = s.spans[1:]
	}
}
