// Package history is the index of the runs that have ended: what is kept of each is
// found by its id, the newest of a client are listed, the oldest are taken to be
// removed, and all of that costs the same however many there are. It knows nothing of
// runs: what it keeps of one is some bytes.
//
//	Index ── Begin, Finish, Remove, Get, Newest, Oldest             index.go, query.go
//	 ├─ entries, in memory: 80 bytes and the id of a run,           entries.go
//	 │   in the order of the ends, and no pointers
//	 └─ the log, on disk: segments of lines, only ever appended to  segment.go, load.go
//	     └─ cleaned from its oldest segment                         clean.go
//
// A line (line.go) has a checksum of its own and is found again after any damage by the
// line feed before it. What it says is one of
//
//	B id data                                 a run has begun
//	F id created ended bytes client data    it has ended, and this is all there is of it
//	D the same                                it has ended, and its record is a file of its own
//	R id ...                                  runs are not kept any more
//
// The last line of a run holds. A line is written by one write(2) before its caller goes
// on, so that a daemon that is killed loses none; it is not flushed to the disk, so that
// a power cut loses those that the kernel had not written back: of durable runs the files
// hold then, and of the others it loses what the clients, gone with it, could have asked.
//
// Nothing of it is mapped into memory, and no length in it is believed that a checksum
// has not covered: a torn log costs the lines that are torn.
package history
