package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"

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

// RefsOf are the digests that a configuration names, as its tags are now.
func RefsOf(sources []Source) Refs {
	refs := Refs{Digests: map[string]string{}}
	for _, source := range sources {
		if source.Layout == "" {
			continue
		}
		found, err := source.Resolve()
		refs.Unknown = refs.Unknown || err != nil
		refs.Digests[found.Digest] = "images." + source.Name
	}
	return refs
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
