package unpack

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"penstock/internal/bytesize"
	"penstock/internal/hint"
)

const (
	// lookEvery is how many bytes and entries are unpacked between two looks at what is
	// free: others write there, too.
	lookBytes   = 64 << 20
	lookEntries = 4096
	// inodesLeft is how many files must still fit on the file system.
	inodesLeft = 4096
	pathMost   = 4096 // PATH_MAX
	depthMost  = 256
)

// budget is what may still be unpacked. All that is read of a layer counts, and what a
// sparse file says it has beyond that: so a stream without an end comes to one.
type budget struct {
	ctx     context.Context
	dir     string
	reserve int64
	most    int64
	why     string // of most
	left    int64
	entries int64
	paths   int64 // directories and files told of, see entry
	last    string
	lookAt  int64 // what is left at the next look
}

func newBudget(ctx context.Context, dir string, l Limits) (*budget, error) {
	b := &budget{ctx: ctx, dir: dir, reserve: max(l.Reserve, 0), most: l.Most}
	if b.most <= 0 {
		b.most = DefaultMost
	}
	b.why = "an image may have"
	free, err := b.free()
	if err != nil {
		return nil, err
	}
	if free < b.most {
		b.most, b.why = free, "are free"
		if b.reserve > 0 {
			b.why += " beside the " + bytesize.Human(b.reserve) + " that stay so"
		}
	}
	b.left = b.most
	b.lookAt = b.left - lookBytes
	return b, nil
}

// free is the room for what is to come; having none is an error.
func (b *budget) free() (int64, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(b.dir, &fs); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", b.dir, err)
	}
	free := int64(fs.Bavail)*fs.Bsize - b.reserve
	if free <= 0 {
		return 0, hint.Errorf("make room, or see keep.min_free", "%s: %s are free, and %s are to stay so", b.dir, bytesize.Human(int64(fs.Bavail)*fs.Bsize), bytesize.Human(b.reserve))
	}
	if fs.Files > 0 && fs.Ffree < inodesLeft {
		return 0, hint.Errorf("remove files", "%s: only %d more files can be made", b.dir, fs.Ffree)
	}
	return free, nil
}

func (b *budget) taken() int64 { return b.most - b.left }

// take takes bytes, or refuses them.
func (b *budget) take(n int64) error {
	if b.ctx.Err() != nil {
		return context.Cause(b.ctx)
	}
	if n > b.left {
		return b.tooMuch()
	}
	b.left -= n
	if b.left < b.lookAt {
		b.lookAt = b.left - lookBytes
		_, err := b.free()
		return err
	}
	return nil
}

func (b *budget) tooMuch() error {
	return hint.Errorf("is it what you mean to unpack? --max-size sets another bound", "it unpacks to more than the %s that %s", bytesize.Human(b.most), b.why)
}

// entry takes one entry of a layer, and looks whether its content, were it all there, would fit.
func (b *budget) entry(name string, size int64) error {
	if len(name) > pathMost {
		return fmt.Errorf("the path %.40q... has %d bytes: more than %d", name, len(name), pathMost)
	}
	b.entries++
	// umoci remembers each directory above an entry: what is new in this one counts.
	deep, fresh := strings.Count(name, "/")+1, 0
	if deep > depthMost {
		return fmt.Errorf("the path %.40q... is %d directories deep: more than %d", name, deep, depthMost)
	}
	for dir := name; dir != "." && dir != "/" && !strings.HasPrefix(b.last+"/", dir+"/"); dir = path.Dir(dir) {
		fresh++
	}
	b.last = name
	if b.paths += int64(max(fresh, 1)); b.paths > entriesMost {
		return fmt.Errorf("it has more than %d files", entriesMost)
	}
	if size > b.left {
		return b.tooMuch()
	}
	if b.entries%lookEntries == 0 {
		_, err := b.free()
		return err
	}
	return context.Cause(b.ctx)
}

// counted is a stream of which each byte is taken.
type counted struct {
	io.Reader
	budget *budget
	n      int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	if over := c.budget.take(int64(n)); over != nil {
		return 0, over
	}
	return n, err
}

// content is what is read of one entry: of a sparse file more than of its stream.
type content struct {
	io.Reader
	stream *counted
	before int64 // of the stream, where the entry begins
	n      int64
	extra  int64 // taken beside the stream
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += int64(n)
	if beyond := c.n - (c.stream.n - c.before) - c.extra; beyond > 0 {
		c.extra += beyond
		if over := c.stream.budget.take(beyond); over != nil {
			return 0, over
		}
	}
	return n, err
}
