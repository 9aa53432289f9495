package cgroup

import (
	"path/filepath"
)

// Origin is what making a root has changed: what Close takes back. A daemon
// that makes way for a successor in the same process passes it on (Root.Leave,
// Options.Origin), for nothing in the tree tells it.
type Origin struct {
	Root string `json:"root"`
	Made bool   `json:"made,omitempty"` // its directory
	Own  string `json:"own"`            // where the daemon was before
	Leaf bool   `json:"leaf,omitempty"` // the daemon has moved into a leaf made for it
	// Enabled are controllers that were switched on, in this order.
	Enabled []switched `json:"enabled,omitempty"`
}

// switched are controllers that the groups below a path got.
type switched struct {
	Path        string   `json:"path"`
	Controllers []string `json:"controllers"`
}

// originOf is where a root begins: what the daemon before this one in the same
// process has left, or, where that didn't say, what can be told from the tree.
func originOf(here place, s site, left *Origin) Origin {
	switch {
	case left != nil && left.Root == s.path && here.own == s.path+"/"+daemonLeaf:
		return *left
	case s.inherited:
		return derived(s)
	}
	return Origin{Root: s.path, Own: here.own}
}

// derived is for a daemon of an earlier version, which left no Origin. A group
// that held us had no controllers on for its children before; whether the real
// root had can't be told.
func derived(s site) Origin {
	o := Origin{Root: s.path, Made: true, Own: s.parent, Leaf: true}
	if isReal(s.parent) {
		return o
	}
	for _, path := range []string{s.parent, s.path} {
		if on, err := enabled(path); err == nil && len(on) > 0 {
			o.Enabled = append(o.Enabled, switched{path, on})
		}
	}
	return o
}

// lookInherited offers the root in whose leaf we live: we made it below the
// group we came from, and left it (Root.Leave) for ourselves. What was left to us
// tells that by itself, whatever else an engine's exec has put there meanwhile;
// told nothing, we must live there alone.
func lookInherited(here place, o Options) (prospect, bool) {
	root := filepath.Dir(here.own)
	if filepath.Base(here.own) != daemonLeaf || filepath.Base(root) != o.Name {
		return prospect{}, false
	}
	if o.Origin == nil || o.Origin.Root != root {
		pids, err := procsAt(here.own)
		if err != nil || len(withoutSelf(pids)) > 0 {
			return prospect{}, false
		}
	}
	has, err := controllers(root)
	if err != nil {
		return prospect{}, false
	}
	s := site{path: root, parent: filepath.Dir(root), inherited: true}
	return prospect{plan: "groups in " + root + ", which we have made before", has: has, take: at(here, s)}, true
}
