package cgroup

import (
	"context"
	"path/filepath"
)

// lookInherited offers the root in whose leaf we live alone: we made it below
// the group we came from, and left it (Root.Leave) for ourselves.
func lookInherited(here place, name string) (prospect, bool) {
	root := filepath.Dir(here.own)
	if filepath.Base(here.own) != daemonLeaf || filepath.Base(root) != name {
		return prospect{}, false
	}
	pids, err := procsAt(here.own)
	if err != nil || len(withoutSelf(pids)) > 0 {
		return prospect{}, false
	}
	has, err := controllers(root)
	if err != nil {
		return prospect{}, false
	}
	s := site{path: root, parent: filepath.Dir(root), inherited: true}
	return prospect{plan: "groups in " + root + ", which we have made before", has: has, take: at(here, s)}, true
}

// laterAsInherited takes back what was done when the root was made: out of it,
// into the group above, where that may hold us.
func (r *Root) laterAsInherited(s site) {
	leaf, stays := r.path+"/"+daemonLeaf, false
	remove := func(path string) func(context.Context) error {
		return func(ctx context.Context) error {
			if stays {
				return nil
			}
			return removeOne(ctx, path)
		}
	}
	r.later(step{"remove root", remove(r.path)})
	r.later(step{"remove leaf", remove(leaf)})
	r.later(step{"move back", func(context.Context) error {
		on, err := enabled(s.parent)
		if stays = err == nil && len(on) > 0 && !isReal(s.parent); stays {
			return nil
		}
		return moveSelf(s.parent)
	}})
	if isReal(s.parent) {
		return
	}
	// A group that held us had none on for its children before.
	if on, err := enabled(s.parent); err == nil {
		r.later(r.disableAt(s.parent, on))
	}
}
