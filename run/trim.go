package run

import (
	"errors"
	"io/fs"
	"os"

	"penstock/internal/trash"
	"penstock/spool"
)

// trim leaves no more on disk of what the run has written than output_max, and
// nothing that the run has put in the place of its outputs. Its group is empty.
func (s *supervisor) trim() {
	size, stderr, err := s.outputs.Trim(s.spec.OutputMax)
	if err != nil {
		s.run.log.Warn("output not trimmed: it takes more of the disk than output_max", "err", err)
		return
	}
	for name, ours := range map[string]*os.File{spoolName: s.outputs.Spool, stderrName: s.outputs.Stderr} {
		if err := s.run.dir.removeOther(name, ours); err != nil {
			s.run.log.Warn("what lies in the place of the run's output is not removed", "err", err)
		}
	}
	s.size = size
	s.run.setOutputBytes(size + stderr)
}

// removeOther removes what has the name of an output and isn't it.
func (d *directory) removeOther(name string, ours *os.File) error {
	mine, err := ours.Stat()
	if err != nil {
		return err
	}
	root, err := d.root()
	if err != nil {
		return err
	}
	defer root.Close()
	if found, err := root.Lstat(name); err != nil || os.SameFile(found, mine) {
		return nil // gone already, or what it should be
	}
	return trash.Below(root, name)
}

// trim is for a run whose end no daemon has seen; w is nil where that isn't durable.
func (d *directory) trim(cp *checkpoint) error {
	most := int64(defaultOutputMax)
	if cp != nil && cp.OutputMax > 0 {
		most = cp.OutputMax
	}
	o, err := spool.OpenOutputs(d.file(spoolName), d.file(stderrName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer o.Close()
	_, _, err = o.Trim(most)
	return err
}
