package cgroup

// walkTree visits the group at and all groups below it, each before those below
// it, closes at, and calls up with its parent's descriptor and its name when all below
// it were visited. It holds two descriptors and no path: a run may nest groups
// deeper than PATH_MAX can name. Groups that vanish meanwhile are skipped.
func walkTree(at *Dir, visit func(*Dir) error, up func(parent int, name string) error) error {
	defer func() { at.Close() }()
	type level struct {
		name string
		rest []string // its siblings still to be visited
	}
	var above []level
	rest, err := visitGroup(at, visit)
	for err == nil {
		if len(rest) > 0 {
			below, openErr := at.open(rest[0])
			if IsVanished(openErr) {
				rest = rest[1:]
				continue
			}
			if openErr != nil {
				return openErr
			}
			above = append(above, level{rest[0], rest[1:]})
			at.Close()
			at = below
			rest, err = visitGroup(at, visit)
			continue
		}
		if len(above) == 0 {
			return nil
		}
		parent, openErr := at.open("..")
		if openErr != nil {
			return openErr
		}
		at.Close()
		at = parent
		last := above[len(above)-1]
		above, rest = above[:len(above)-1], last.rest
		err = up(at.FD(), last.name)
	}
	return err
}

// visitGroup visits one group and names those directly below it.
func visitGroup(d *Dir, visit func(*Dir) error) ([]string, error) {
	if err := visit(d); err != nil {
		return nil, err
	}
	entries, err := d.f.ReadDir(-1)
	if err != nil && !IsVanished(err) {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, nil
}
