package spawn

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"penstock/internal/procinfo"
)

// A service's own /tmp is told as the operator finds it on the host.
func TestMemoryFiles_NamedAsOutside(t *testing.T) {
	const host = `25 1 254:1 / / rw - ext4 /dev/vda1 rw
30 25 0:22 / /dev/shm rw,nosuid shared:4 - tmpfs tmpfs rw
31 25 0:31 / /tmp rw shared:15 - tmpfs tmpfs rw
32 25 0:33 / /run rw - tmpfs tmpfs rw
33 25 254:1 /var/tmp/systemd-private-b-penstock.service-q/tmp /var/tmp rw - ext4 /dev/vda1 rw
`
	const private = `40 31 0:31 /systemd-private-b-penstock.service-x/tmp /tmp rw - tmpfs tmpfs rw
`
	const alone = `25 1 254:1 / / rw - ext4 /dev/vda1 rw
40 25 0:31 /systemd-private-b-penstock.service-x/tmp /tmp rw - tmpfs tmpfs rw
`
	shared := func(path string) bool { return path != "/run" }
	for _, tt := range []struct{ mounts, want string }{
		{host, "/dev/shm /tmp"},
		{host + private, "/dev/shm /tmp/systemd-private-b-penstock.service-x/tmp"},
		{alone, "/tmp/systemd-private-b-penstock.service-x/tmp"},
	} {
		proc := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(proc, "self"), 0o755), os.WriteFile(filepath.Join(proc, "self/mountinfo"), []byte(tt.mounts), 0o644)); err != nil {
			t.Fatal(err)
		}
		mounts, err := procinfo.FS(proc).Mounts()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range sharedMemory(mounts, shared) {
			got = append(got, outside(m, mounts))
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%v, want %s", got, tt.want)
		}
	}
}
