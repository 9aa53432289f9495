package unpack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// rights are what this process may make. They are tried, not asked for: a user namespace,
// a capability that is missing and the unit's seccomp filter (RestrictSUIDSGID=) each take
// some of them away.
type rights struct {
	owners       bool // files of any user
	devices      bool
	setID        bool
	capabilities bool // of files
}

// What an image is without where rights are missing, as its record tells.
const (
	withoutOwners       = "owners"
	withoutDevices      = "devices"
	withoutSetID        = "set-ID bits"
	withoutCapabilities = "file capabilities"
)

// probeOwner is no user of ours: files of users up to it are in images.
const probeOwner = 65533

// probeRights tries them beside a root file system to be.
func probeRights(rootfs string) (rights, error) {
	var may rights
	dir := filepath.Join(filepath.Dir(rootfs), "probe")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return may, fmt.Errorf("image store: %w", err)
	}
	file, node := filepath.Join(dir, "file"), filepath.Join(dir, "node")
	if err := os.WriteFile(file, nil, 0o700); err != nil {
		return may, fmt.Errorf("image store: %w", err)
	}
	may.setID = unix.Chmod(file, 0o6755) == nil
	may.capabilities = unix.Setxattr(file, "security.capability", noCapabilities(), 0) == nil
	may.devices = unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))) == nil
	// Whose files are another's must go on to be ours to change.
	may.owners = os.Geteuid() != probeOwner && unix.Lchown(file, probeOwner, probeOwner) == nil && unix.Chmod(file, 0o644) == nil && unix.Access(file, unix.W_OK) == nil
	// Without the owners of files umoci makes no devices.
	may.devices = may.devices && may.owners
	err := errors.Join(os.Remove(file), os.RemoveAll(dir))
	return may, err
}

// noCapabilities is a vfs_cap_data (linux/capability.h) of revision 2 with none in it.
func noCapabilities() []byte {
	const revision2, size = 0x02000000, 20
	data := make([]byte, size)
	binary.LittleEndian.PutUint32(data, revision2)
	return data
}
