package bubblewrap

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// options of a mount, as far as bubblewrap can heed them.
type options struct {
	readonly bool
	size     int64  // bytes
	mode     string // octal
}

// parseOptions takes those of a Spec's mount. What bubblewrap does anyway (nosuid,
// nodev, rbind) may be told.
func parseOptions(list []string) (o options, err error) {
	for _, option := range list {
		key, value, _ := strings.Cut(option, "=")
		switch key {
		case "ro":
			o.readonly = true
		case "rw", "rbind", "bind", "nosuid", "nodev":
		case "size":
			if o.size, err = strconv.ParseInt(value, 10, 64); err != nil || o.size <= 0 {
				return o, fmt.Errorf("option %q: not a number of bytes", option)
			}
		case "mode":
			if n, err := strconv.ParseUint(value, 8, 12); err != nil || os.FileMode(n) > 0o1777 {
				return o, fmt.Errorf("option %q: no permissions", option)
			}
			o.mode = value
		default:
			return o, fmt.Errorf("option %q: not to be had", option)
		}
	}
	return o, nil
}
