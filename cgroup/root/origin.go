package root

import "penstock/cgroup/cgroupfs"

// Origin is what making a root has changed: what Close takes back. A daemon
// that makes way for a successor in the same process passes it on (Root.Detach,
// Options.Origin), for nothing in the tree tells it.
type Origin struct {
	Root string `json:"root"`
	Made bool   `json:"made,omitempty"` // its directory
	Own  string `json:"own"`            // where the daemon was before
	Leaf bool   `json:"leaf,omitempty"` // the daemon has moved into a leaf made for it
	// Enabled are controllers that were switched on, in this order.
	Enabled []Switched `json:"enabled,omitempty"`
}

// Switched are controllers that the groups below a path got.
type Switched struct {
	Path        string   `json:"path"`
	Controllers []string `json:"controllers"`
}

// startOrigin is where a root begins: what the daemon before this one in the same
// process has left, or, where that didn't say, what can be told from the tree.
func startOrigin(here cgroupfs.Location, s rootSite, left *Origin) Origin {
	switch {
	case left != nil && left.Root == s.path && here.Own == s.path+"/"+cgroupfs.DaemonLeaf:
		return *left
	case s.inherited:
		return deriveOrigin(s)
	}
	return Origin{Root: s.path, Own: here.Own}
}

// deriveOrigin is for a daemon of an earlier version, which left no Origin. A group
// that held us had no controllers on for its children before; whether the real
// root had can't be told.
func deriveOrigin(s rootSite) Origin {
	o := Origin{Root: s.path, Made: true, Own: s.parent, Leaf: true}
	if cgroupfs.IsRealRoot(s.parent) {
		return o
	}
	for _, path := range []string{s.parent, s.path} {
		if on, err := cgroupfs.Enabled(path); err == nil && len(on) > 0 {
			o.Enabled = append(o.Enabled, Switched{path, on})
		}
	}
	return o
}
