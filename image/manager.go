package image

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"penstock/internal/hint"
)

// Image is what a run gets by a name.
type Image struct {
	*Use
	Name     string
	Home     string
	Writable int64 // bytes; 0 is the default
}

// Unpack unpacks a digest of a layout into the store, in a process of its own.
type Unpack func(ctx context.Context, layout, digest string) error

// Manager is a daemon's images. What a tag means is decided by Reload, and stays until the
// next: the digest is held as long, and the one before until runs get this one. Safe for concurrent use.
type Manager struct {
	store  *Store
	log    *slog.Logger
	unpack Unpack
	ctx    context.Context
	stop   context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	images map[string]*configured
	// turn is held while an image is unpacked: one at a time.
	turn     sync.Mutex
	settling sync.Mutex
	// started is closed by Start.
	started chan struct{}
	start   sync.Once
}

// configured is an image of the configuration that is in force.
type configured struct {
	Source
	want  *content
	begun time.Time
	err   error // why what it wants isn't there; ErrUnpacking while it will be
	// have is what runs get: what it wants or, where that isn't there yet, what the name
	// meant before. Nil is nothing.
	have *content
}

// content is what a name means.
type content struct {
	digest string   // "" of a directory
	rootfs string   // the directory
	pin    *os.File // holds the digest
}

func (c *content) release() error {
	if c == nil || c.pin == nil {
		return nil
	}
	return c.pin.Close()
}

// release lets go of what the configuration holds.
func (c *configured) release() error {
	err := c.want.release()
	if c.have != c.want {
		err = errors.Join(err, c.have.release())
	}
	return err
}

// digest is what runs get, or would if it were there.
func (c *configured) digest() string {
	if c.have != nil {
		return c.have.digest
	}
	return c.want.digest
}

// ErrUnpacking is wrapped when an image is not there yet.
var ErrUnpacking = errors.New("it is being unpacked")

// errNoStore is told where the store could not be opened.
var errNoStore = errors.New("there is no image store: see the log of the start")

// NewManager has no images before the first Reload. A nil unpack leaves out what isn't in
// the store, a nil store all but directories.
func NewManager(s *Store, log *slog.Logger, unpack Unpack) *Manager {
	m := &Manager{store: s, log: log, unpack: unpack, images: map[string]*configured{}, started: make(chan struct{})}
	m.ctx, m.stop = context.WithCancel(context.Background())
	return m
}

// Start lets it unpack. Before, a daemon has no place for another process: the one in which
// it was started may have to be left by all.
func (m *Manager) Start() { m.start.Do(func() { close(m.started) }) }

// closeMax is how long Close waits for what doesn't end: a process that unpacks from a
// file system that hangs can't be killed.
const closeMax = 3 * time.Second

// Close stops what is being unpacked, and lets go of what is held.
func (m *Manager) Close() error {
	m.mu.Lock() // a Reload begins nothing after it
	m.stop()
	m.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		m.work.Wait()
		close(ended)
	}()
	timer := time.NewTimer(closeMax)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	for _, c := range m.images {
		errs = append(errs, c.release())
	}
	m.images = map[string]*configured{}
	return errors.Join(errs...)
}

// Reload takes the images of a configuration and asks anew what their tags mean, all of
// them or, with an error, none. What isn't in the store yet is unpacked later on: until
// then, and where that fails, runs go on with what the name meant before. Where that is
// nothing there is an error for each.
func (m *Manager) Reload(ctx context.Context, sources []Source) error {
	next, err := plan(m.store, sources)
	if err != nil {
		return err
	}
	for _, c := range next {
		m.look(ctx, c)
	}
	m.mu.Lock()
	old := m.images
	if err = m.ctx.Err(); err == nil { // after Close there is nothing to close again
		for name, c := range next {
			c.follow(old[name])
			m.tell(name, old[name], c)
		}
		m.images = next
		for name, c := range next {
			if errors.Is(c.err, ErrUnpacking) {
				m.work.Go(func() { m.fetch(name, c) })
			}
		}
		if m.store != nil {
			m.work.Go(m.settle)
		}
	} else {
		old = next
	}
	m.mu.Unlock()
	for _, c := range old {
		err = errors.Join(err, c.release())
	}
	return err
}

// look holds an image of the configuration, and finds out whether it is there.
func (m *Manager) look(ctx context.Context, c *configured) {
	switch {
	case c.want.digest == "":
		c.have = c.want
		return
	case m.store == nil:
		c.err = errNoStore
		return
	}
	// Before it is looked for: what is there then, or comes, stays.
	if c.want.pin, c.err = m.store.Pin(ctx, c.want.digest); c.err == nil && m.store.Has(c.want.digest) {
		c.have = c.want
		return
	}
	c.have = m.before(ctx, c.Name)
	if c.err != nil {
		return
	}
	c.begun, c.err = time.Now(), ErrUnpacking
	if m.unpack == nil {
		c.err = hint.Errorf("penstock image add unpacks it", "%s is not in the store", Short(c.want.digest))
	}
}

// follow takes over what runs have had of a name, where what it means now isn't there.
func (c *configured) follow(was *configured) {
	if was == nil || was.have == nil || c.have == c.want && c.have != nil {
		return
	}
	c.have, was.have = was.have, c.have // was is released: with it what c has found
	if was.want == c.have {
		was.want = nil
	}
}

// tell logs that a name means something else from now on, or will.
func (m *Manager) tell(name string, was, c *configured) {
	log := m.log.With("image", name, "digest", c.want.digest)
	switch {
	case c.have == nil:
	case c.have == c.want:
		if was != nil && was.have != nil && was.have.digest != c.want.digest {
			log.Info("image changes", "before", was.have.digest)
		}
	case errors.Is(c.err, ErrUnpacking):
		log.Info("image changes when it is unpacked: its runs go on with what is before", "before", c.have.digest)
	default:
		log.Error("image not there: its runs go on with what is before", "before", c.have.digest, "error", c.err)
	}
}

// Plan says why Reload would refuse a configuration; it changes nothing. A nil store has
// nothing in it.
func Plan(s *Store, sources []Source) error {
	_, err := plan(s, sources)
	return err
}

func plan(s *Store, sources []Source) (map[string]*configured, error) {
	next := map[string]*configured{}
	var errs []error
	for _, source := range sources {
		c := &configured{Source: source, want: &content{rootfs: source.Rootfs}}
		if source.Layout != "" {
			found, err := source.Resolve()
			if err != nil {
				errs = append(errs, fmt.Errorf("images.%s: %w", source.Name, err))
			}
			c.want.digest = found.Digest
		}
		next[source.Name] = c
	}
	if s != nil {
		both, err := s.Both(slices.Collect(maps.Keys(next)))
		errs = append(errs, err)
		for _, name := range both {
			errs = append(errs, InBoth(name))
		}
	}
	return next, errors.Join(errs...)
}

// InBoth is the error of a name that is both the configuration's and the store's.
func InBoth(name string) error {
	return hint.Errorf("penstock image rm "+name+", or leave it out of the configuration", "images.%s: the store has an image of that name, too", name)
}

// fetch unpacks an image that the store lacks, and gives it to runs.
func (m *Manager) fetch(name string, c *configured) {
	select {
	case <-m.started:
	case <-m.ctx.Done():
		return
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	log := m.log.With("image", name, "digest", c.want.digest)
	if m.ctx.Err() != nil || !m.isCurrent(name, c) {
		return
	}
	var err error
	if !m.store.Has(c.want.digest) { // a reload meanwhile asks for the same
		log.Info("unpacking an image", "from", c.Layout)
		err = m.unpack(m.ctx, c.Layout, c.want.digest)
	}
	// That it is there counts, not the exit status: a daemon that reaps orphans may have
	// taken that.
	if _, there := m.store.Get(c.want.digest); there == nil || err == nil {
		err = there
	}
	before := m.change(name, c, err)
	switch {
	case m.ctx.Err() != nil:
	case !m.isCurrent(name, c): // a reload tries again, and tells of that
		m.settle()
	case err != nil && before != nil:
		log.Error("image not unpacked: its runs go on with what is before", "before", before.digest, "error", err)
	case err != nil:
		log.Error("image not unpacked: its runs are refused", "error", err)
	default:
		log.Info("image unpacked", "after", time.Since(c.begun).Round(time.Millisecond).String())
		m.settle()
	}
}

// change gives runs what has been unpacked or, with an error, leaves them what they have
// had, which it returns.
func (m *Manager) change(name string, c *configured, err error) (before *content) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if before = c.have; m.images[name] != c {
		return before // a reload has let it go
	}
	if c.err = err; err == nil {
		c.have = c.want
		if err := before.release(); err != nil {
			m.log.Warn("image not let go", "digest", before.digest, "error", err)
		}
	}
	return before
}

func (m *Manager) isCurrent(name string, c *configured) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.images[name] == c
}

// Use holds the image of a name for a run, which is to close it at its end. An error says
// why no run can have it: ErrUnknown, ErrUnpacking, or what failed.
func (m *Manager) Use(ctx context.Context, name string) (*Image, error) {
	for try := 0; ; try++ {
		use, err := m.use(ctx, name)
		if errors.Is(err, ErrGone) && try == 0 {
			continue // it got another digest in between
		}
		return use, err
	}
}

func (m *Manager) use(ctx context.Context, name string) (*Image, error) {
	m.mu.Lock()
	c, ok := m.images[name]
	image := &Image{Name: name}
	var has content
	var failed error
	if ok {
		image.Home, image.Writable, failed = c.Home, c.Writable, c.failed()
		if c.have != nil {
			has = *c.have
		}
	}
	m.mu.Unlock()
	switch {
	case !ok && m.store == nil:
		return nil, fmt.Errorf("image %s: %w: %w", name, ErrUnknown, errNoStore)
	case !ok:
		return m.store.useNamed(ctx, name)
	case failed != nil:
		return nil, fmt.Errorf("image %s: %w", name, failed)
	case has.digest == "":
		image.Use = &Use{Record: Record{Source: has.rootfs}, Rootfs: has.rootfs}
		return image, nil
	}
	var err error
	image.Use, err = m.store.Use(ctx, has.digest)
	if err != nil {
		return nil, err
	}
	return image, nil
}

// failed says why runs have nothing.
func (c *configured) failed() error {
	switch {
	case c.have != nil:
		return nil
	case errors.Is(c.err, ErrUnpacking):
		return hint.Errorf("try again", "%w, for %s so far", ErrUnpacking, time.Since(c.begun).Round(time.Second))
	}
	return c.err
}

// Known finds a name; the error is ErrUnknown, or that the store can't be read.
func (m *Manager) Known(name string) (Known, error) {
	m.mu.Lock()
	c, ok := m.images[name]
	var known Known
	if ok {
		known = Known{Name: name, Digest: c.digest(), Home: c.Home, Writable: c.Writable, Err: c.failed()}
	}
	m.mu.Unlock()
	if ok {
		return known, nil
	}
	return Lookup(m.store, nil, name)
}

// Store is nil where there is none.
func (m *Manager) Store() *Store { return m.store }

// Path is where the store lies, "" where there is none.
func (m *Manager) Path() string {
	if m.store == nil {
		return ""
	}
	return m.store.Path()
}

// Adopt holds the digest that the record of an earlier daemon's run tells.
func (m *Manager) Adopt(ctx context.Context, digest string) (*Use, error) {
	if digest == "" {
		return &Use{}, nil // a directory of the host's
	}
	if m.store == nil {
		return nil, errNoStore
	}
	return m.store.Use(ctx, digest)
}
