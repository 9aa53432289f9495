package run

import (
	"context"
	"errors"
	"fmt"

	"penstock/image"
	"penstock/outcome"
	"penstock/run/inimage"
	"penstock/run/store"
	"penstock/spawn"
)

// holdImage takes hold of the image that the run is to be in, before anything is made for it.
// It stays what it is for as long as the run lives, whatever its name means by then.
func (s *supervisor) holdImage(ctx context.Context) error {
	if s.spec.Image == nil {
		return nil
	}
	var held *image.Image
	err := errNoImages
	if s.manager.o.Images != nil {
		held, err = s.manager.o.Images.Use(ctx, s.spec.Image.Name)
	}
	if err != nil {
		return &spawn.StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("run %s: %w", s.spec.ID, err)}
	}
	s.child.image = held
	s.run.setImage(&store.Image{Name: held.Name, Digest: held.Digest})
	return nil
}

// errNoImages is of a manager without Options.Images.
var errNoImages = errors.New("this program has no images")

// adoptImage holds what the run of an earlier daemon has: its first process does, too.
func (s *supervisor) adoptImage(ctx context.Context, r Record) {
	if r.Image == nil {
		return
	}
	err := errNoImages
	if s.manager.o.Images != nil {
		var held *image.Use
		if held, err = s.manager.o.Images.Adopt(ctx, r.Image.Digest); err == nil {
			s.child.image = &image.Image{Use: held, Name: r.Image.Name}
		}
	}
	if err != nil {
		s.run.log.Warn("the image of a run is held by its own process alone", "image", r.Image.Name, "digest", r.Image.Digest, "err", err)
	}
}

// releaseImage lets go of it in this process.
func (s *supervisor) releaseImage() {
	if s.child.image == nil {
		return
	}
	if err := s.child.image.Close(); err != nil {
		s.run.log.Warn("image not let go", "err", err)
	}
	s.child.image = nil
}

// dropStatus removes what process 1 has written, once the run's end is known.
func (s *supervisor) dropStatus() {
	if s.run.Record().Image == nil {
		return
	}
	if err := s.manager.state.RemoveStatus(s.run.id); err != nil {
		s.run.log.Warn("scratch not removed", "err", err)
	}
}

// enter opens what a run has in its image.
func (s *supervisor) enter(dir *store.Dir, spec Spec, p plan) (*inimage.Entry, error) {
	if s.child.image == nil || s.child.image.Home == "" { // of an earlier daemon: the configuration has the rest
		s.releaseImage()
		if err := s.holdImage(context.Background()); err != nil {
			return nil, err
		}
	}
	status, err := s.manager.state.NewStatus(spec.ID)
	if err != nil {
		return nil, err
	}
	entry, err := spec.Image.Enter(s.child.image, inimage.Run{
		StateDir: s.manager.state.Path, Dir: dir.Path, Tmp: dir.File(store.TmpName), Cwd: p.dir.cwd, Held: p.dir.held,
		Home: p.dir.home, User: spec.User, Program: spec.Argv[0], Env: p.env, Memory: store.MemoryOf(spec.Limits), Status: status,
	})
	if err != nil {
		return nil, &spawn.StartError{Cause: outcome.StartFailed, Err: fmt.Errorf("run %s: %w", spec.ID, err)}
	}
	return entry, nil
}

// statusOf is what an adoption needs of a run in an image; nil is one without, or that how its
// CLI ends won't be known.
func (m *Manager) statusOf(r Record) *spawn.Image {
	if r.Image == nil {
		return nil
	}
	f, err := m.state.Status(r.ID)
	if err != nil {
		m.log.Error("how a run in an image ends won't be known", "run", r.ID, "err", err)
		return nil
	}
	return &spawn.Image{Status: f}
}

// isIn tells whether a backend's runs are where one of its was: in the same image, or in none.
func isIn(now *inimage.Image, was *store.Image) bool {
	if now == nil || was == nil {
		return now == nil && was == nil
	}
	return now.Name == was.Name
}

func (r *Run) setImage(i *store.Image) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record.Image = i
}
