package run

import "sync"

const bufferSize = 8 << 10 // bytes

// buffers are shared by the readings of one run, which need one while there is
// something to be read. nil makes each anew.
type buffers struct {
	pool sync.Pool // of *[bufferSize]byte
}

// get gives an empty buffer with room for size bytes; nil for none.
func (b *buffers) get(size int) []byte {
	if size == 0 {
		return nil
	}
	if size == bufferSize && b != nil {
		if p, ok := b.pool.Get().(*[bufferSize]byte); ok {
			return p[:0]
		}
	}
	return make([]byte, 0, size)
}

// put takes back a buffer that is not used any more.
func (b *buffers) put(p []byte) {
	if cap(p) == bufferSize && b != nil {
		b.pool.Put((*[bufferSize]byte)(p[:bufferSize]))
	}
}
