package config

import (
	"fmt"
	"os"

	"github.com/prometheus/procfs"
)

// ReadHost reads the facts of this machine (/proc/meminfo: MemTotal). The
// limit of our own group is not among them: whoever knows groups adds it.
func ReadHost() (Host, error) {
	h := Host{UID: os.Geteuid()}
	exe, err := os.Executable()
	if err != nil {
		return h, fmt.Errorf("find own program: %w", err)
	}
	h.Executable = exe
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return h, fmt.Errorf("open /proc: %w", err)
	}
	m, err := fs.Meminfo()
	if err != nil {
		return h, fmt.Errorf("read /proc/meminfo: %w", err)
	}
	if m.MemTotalBytes != nil {
		h.MemoryBytes = int64(min(*m.MemTotalBytes, uint64(sizeLimit)))
	}
	return h, nil
}
