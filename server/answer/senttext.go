package answer

// sentMax bounds what is remembered of a stream's text, in bytes. A CLI voids
// its latest message at most, so older text is not asked for again.
const sentMax = 1 << 20

// sentText follows the answer text a client has been given, for the day the CLI
// takes some of it back. What was sent can't be unsent: as long as the
// replacement says the same again it is held back, and at the first difference
// the stream has to end.
type sentText struct {
	// discards is true until something is taken back, see sentBefore: of a hundred
	// readers of one run none should keep what the spool has.
	discards bool
	tail     []byte // the last bytes sent
	total    int    // bytes sent so far
	valid    int    // bytes of it that are the answer, as of now
}

// void keeps the first keep bytes of the answer.
func (s *sentText) void(keep int) {
	s.valid = min(max(keep, 0), s.valid)
}

// text takes the next piece of the answer and gives what of it is still to be
// sent. ok is false where it contradicts what was sent.
func (s *sentText) text(piece string) (more string, ok bool) {
	again := min(s.total-s.valid, len(piece))
	if again > 0 {
		from := s.valid - (s.total - len(s.tail))
		if from < 0 || string(s.tail[from:from+again]) != piece[:again] {
			return "", false
		}
	}
	s.valid += again
	more = piece[again:]
	s.valid += len(more)
	s.total += len(more)
	s.remember(more)
	return more, true
}

// consistent tells whether all that was sent is the answer.
func (s *sentText) consistent() bool { return s.valid == s.total }

func (s *sentText) remember(more string) {
	if s.discards {
		return
	}
	if len(more) >= sentMax {
		s.tail = append(s.tail[:0], more[len(more)-sentMax:]...)
		return
	}
	s.tail = append(s.tail, more...)
	if len(s.tail) > 2*sentMax {
		s.tail = append(s.tail[:0], s.tail[len(s.tail)-sentMax:]...)
	}
}
