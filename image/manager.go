package image

import (
	"cmp"
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

// Source is an image of a configuration: a directory of the host's, or a tag of a layout.
type Source struct {
	Name     string
	Rootfs   string
	Layout   string
	Tag      string
	Home     string
	Writable int64 // bytes; 0 is the default
}

// Resolve finds what the tag of a layout means now.
func (s Source) Resolve() (Found, error) {
	l, err := OpenLayout(s.Layout)
	if err != nil {
		return Found{}, err
	}
	return l.Resolve(s.Tag)
}

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
// next: the digest is held as long. Safe for concurrent use.
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
	turn sync.Mutex
	// started is closed by Start.
	started chan struct{}
	start   sync.Once
}

// configured is an image of the configuration that is in force.
type configured struct {
	Source
	digest string // "" of a directory
	begun  time.Time
	err    error // why it isn't there; ErrUnpacking while it will be
	pin    *os.File
}

// release lets go of what the configuration holds.
func (c *configured) release() error {
	if c.pin == nil {
		return nil
	}
	return c.pin.Close()
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
// them or, with an error, none. What isn't in the store yet is unpacked later on; until
// then, and where that fails, there is an error for each run.
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
		m.images = next
		for name, c := range next {
			if errors.Is(c.err, ErrUnpacking) {
				m.work.Go(func() { m.fetch(name, c) })
			}
		}
		if m.store != nil {
			m.work.Go(m.sweep)
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
	case c.digest == "":
		return
	case m.store == nil:
		c.err = errNoStore
		return
	}
	// Before it is looked for: what is there then, or comes, stays.
	if c.pin, c.err = m.store.Pin(ctx, c.digest); c.err != nil || m.store.Has(c.digest) {
		return
	}
	c.begun, c.err = time.Now(), ErrUnpacking
	if m.unpack == nil {
		c.err = hint.Errorf("penstock image add unpacks it", "%s is not in the store", Short(c.digest))
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
		c := &configured{Source: source}
		if source.Layout != "" {
			found, err := source.Resolve()
			if err != nil {
				errs = append(errs, fmt.Errorf("images.%s: %w", source.Name, err))
			}
			c.digest = found.Digest
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

// RefsOf are the digests that a configuration names, as its tags are now.
func RefsOf(sources []Source) Refs {
	var refs Refs
	for _, source := range sources {
		if source.Layout == "" {
			continue
		}
		found, err := source.Resolve()
		refs.Unknown = refs.Unknown || err != nil
		refs.Digests = append(refs.Digests, found.Digest)
	}
	return refs
}

// fetch unpacks an image that the store lacks.
func (m *Manager) fetch(name string, c *configured) {
	select {
	case <-m.started:
	case <-m.ctx.Done():
		return
	}
	m.turn.Lock()
	defer m.turn.Unlock()
	log := m.log.With("image", name, "digest", c.digest)
	if m.ctx.Err() != nil || !m.isCurrent(name, c) {
		return
	}
	var err error
	if !m.store.Has(c.digest) { // a reload meanwhile asks for the same
		log.Info("unpacking an image", "from", c.Layout)
		err = m.unpack(m.ctx, c.Layout, c.digest)
	}
	// That it is there counts, not the exit status: a daemon that reaps orphans may have
	// taken that.
	if _, there := m.store.Get(c.digest); there == nil || err == nil {
		err = there
	}
	m.mu.Lock()
	c.err = err
	m.mu.Unlock()
	switch {
	case m.ctx.Err() != nil:
	case err != nil:
		log.Error("image not unpacked: its runs are refused", "error", err)
	default:
		log.Info("image unpacked", "after", time.Since(c.begun).Round(time.Millisecond).String())
	}
}

func (m *Manager) isCurrent(name string, c *configured) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.images[name] == c
}

// sweep takes away what nothing refers to any more.
func (m *Manager) sweep() {
	m.mu.Lock()
	var refs Refs
	for _, c := range m.images {
		if c.digest != "" {
			refs.Digests = append(refs.Digests, c.digest)
		}
	}
	m.mu.Unlock()
	swept, err := m.store.Sweep(m.ctx, refs)
	if len(swept.Digests) > 0 || swept.Interrupted > 0 {
		m.log.Info("images removed", "digests", swept.Digests, "interrupted", swept.Interrupted)
	}
	if err != nil && m.ctx.Err() == nil {
		m.log.Warn("images not swept", "error", err)
	}
}

// Use holds the image of a name for a run, which is to close it at its end. An error says
// why no run can have it: ErrUnknown, ErrUnpacking, or what failed.
func (m *Manager) Use(ctx context.Context, name string) (*Image, error) {
	m.mu.Lock()
	c, ok := m.images[name]
	var source Source
	var digest string
	var failed error
	if ok {
		source, digest, failed = c.Source, c.digest, c.err
		if errors.Is(failed, ErrUnpacking) {
			failed = hint.Errorf("try again", "%w, for %s so far", ErrUnpacking, time.Since(c.begun).Round(time.Second))
		}
	}
	m.mu.Unlock()
	if !ok && m.store == nil {
		return nil, fmt.Errorf("image %s: %w: %w", name, ErrUnknown, errNoStore)
	}
	if !ok {
		return m.store.useNamed(ctx, name)
	}
	if failed != nil {
		return nil, fmt.Errorf("image %s: %w", name, failed)
	}
	image := &Image{Name: name, Home: source.Home, Writable: source.Writable}
	if digest == "" {
		image.Use = &Use{Record: Record{Source: source.Rootfs}, Rootfs: source.Rootfs}
		return image, nil
	}
	use, err := m.store.Use(ctx, digest)
	if err != nil {
		return nil, err
	}
	image.Use = use
	return image, nil
}

// Find holds an image of a configuration or of a store without a daemon; a nil store has
// nothing in it.
func Find(ctx context.Context, s *Store, sources []Source, name string) (*Image, error) {
	for _, source := range sources {
		if source.Name != name {
			continue
		}
		found := &Image{Name: name, Home: source.Home, Writable: source.Writable}
		if source.Layout == "" {
			found.Use = &Use{Record: Record{Source: source.Rootfs}, Rootfs: source.Rootfs}
			return found, nil
		}
		is, err := source.Resolve()
		if err == nil && s == nil {
			err = fmt.Errorf("image %s: %w", Short(is.Digest), ErrGone)
		}
		if err == nil {
			found.Use, err = s.Use(ctx, is.Digest)
		}
		if errors.Is(err, ErrGone) {
			err = hint.Errorf("the daemon unpacks it at its start and at a reload", "%w", err)
		}
		return found, err
	}
	if s == nil {
		return nil, fmt.Errorf("image %s: %w", name, ErrUnknown)
	}
	return s.useNamed(ctx, name)
}

// useNamed holds what a name is in this moment.
func (s *Store) useNamed(ctx context.Context, name string) (*Image, error) {
	for try := 0; ; try++ {
		n, err := s.Name(name)
		if err != nil {
			return nil, err
		}
		use, err := s.Use(ctx, n.Digest)
		if errors.Is(err, ErrGone) && try == 0 {
			continue // it got another digest in between
		}
		if err != nil {
			return nil, err
		}
		return &Image{Use: use, Name: name, Home: cmp.Or(n.Home, DefaultHome), Writable: n.Writable}, nil
	}
}

// Known is what is known of a name without holding what it is.
type Known struct {
	Name     string
	Digest   string // "" of a directory of the host's
	Home     string
	Writable int64 // bytes; 0 is the default
	// Err says why no run can have it now: Manager.Use says the same.
	Err error
}

// Known finds a name; the error is ErrUnknown, or that the store can't be read.
func (m *Manager) Known(name string) (Known, error) {
	m.mu.Lock()
	c, ok := m.images[name]
	var known Known
	if ok {
		known = Known{Name: name, Digest: c.digest, Home: c.Home, Writable: c.Writable, Err: c.err}
	}
	m.mu.Unlock()
	if ok {
		return known, nil
	}
	return Lookup(m.store, nil, name)
}

// Lookup finds a name without a daemon; a nil store has nothing in it.
func Lookup(s *Store, sources []Source, name string) (Known, error) {
	for _, source := range sources {
		if source.Name == name {
			return Known{Name: name, Home: source.Home, Writable: source.Writable}, nil
		}
	}
	if s == nil {
		return Known{}, fmt.Errorf("image %s: %w", name, ErrUnknown)
	}
	n, err := s.Name(name)
	if err != nil {
		return Known{}, err
	}
	return Known{Name: name, Digest: n.Digest, Home: cmp.Or(n.Home, DefaultHome), Writable: n.Writable}, nil
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
