package config

import (
	"path/filepath"
	"strings"
)

// hideDefault are the sockets, spools and devices through which a process can
// have another start one for it on a Debian, Ubuntu or Fedora host.
func hideDefault() []string {
	return []string{
		// systemd and its helpers, the buses, other init systems. All of
		// /run/user: the managers and buses of users, rootless engines, editors'
		// and compositors' sockets.
		"/run/user", "/run/dbus", "/run/systemd/private", "/run/systemd/io.systemd.*", "/run/systemd/machine", "/run/systemd/nspawn",
		"/run/systemd/initctl", "/run/initctl", "/run/udev/control", "/run/openrc", "/run/runit", "/run/s6*", "/run/supervisor*",
		// Container engines and virtual machines.
		"/run/docker.sock", "/run/docker", "/run/containerd", "/run/podman", "/run/crio", "/run/cri-dockerd.sock", "/run/buildkit", "/run/k3s",
		"/run/snapd.socket", "/run/snapd-snap.socket", "/run/incus", "/var/lib/incus/unix.socket*", "/run/lxd*", "/var/lib/lxd/unix.socket",
		"/var/snap/lxd/common/lxd/unix.socket*", "/run/libvirt",
		// What runs something later.
		"/var/spool/cron", "/var/spool/at", "/var/spool/incron",
		// Terminals and process managers of users.
		"/run/screen", "/run/tmux", "/tmp/tmux-*", "/tmp/.X11-unix", "/root/.pm2/*.sock", "/home/*/.pm2/*.sock",
		// Ways for root around the file system and onto the console.
		"/dev/sd*", "/dev/vd*", "/dev/xvd*", "/dev/hd*", "/dev/nvme*", "/dev/mmcblk*", "/dev/md*", "/dev/dm-*", "/dev/loop*", "/dev/sr*",
		"/dev/nbd*", "/dev/rbd*", "/dev/zd*", "/dev/bcache*", "/dev/pmem*", "/dev/ram*", "/dev/zram*", "/dev/dasd*", "/dev/ubd*", "/dev/sg*", "/dev/bsg",
		"/dev/mapper", "/dev/mem", "/dev/port", "/dev/input", "/dev/uinput",
	}
}

// readOnlyDefault is what may be read, but is acted on by the kernel or a
// daemon as soon as it is written.
func readOnlyDefault() []string {
	return []string{
		"/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/sys",
		"/etc/crontab", "/etc/anacrontab", "/etc/cron.d", "/etc/cron.hourly", "/etc/cron.daily", "/etc/cron.weekly", "/etc/cron.monthly",
		"/etc/incron.d", "/etc/udev/rules.d", "/run/udev/rules.d",
		"/etc/systemd", "/run/systemd/system", "/run/systemd/user", "/run/systemd/transient", "/run/systemd/generator*",
	}
}

// theDefault, as an element of a list, stands for all of the default's.
const theDefault = "default"

// patterns takes absolute, clean paths with the wildcards of filepath.Match. To
// hide what runs need would leave no run: their own directories are refused.
func (l *loader) patterns(key string, given, defaults []string, stateDir string) []string {
	var paths []string
	for _, path := range given {
		if path == theDefault {
			paths = append(paths, defaults...)
			continue
		}
		paths = append(paths, path)
		_, malformed := filepath.Match(path, "/")
		switch {
		case !filepath.IsAbs(path):
			l.fail(key, `write an absolute path, or "default" for all of the default's`, "%q is not absolute", path)
		case malformed != nil:
			l.fail(key, "", "%q: a [ without its ]", path)
		case filepath.Clean(path) != path:
			l.fail(key, "write "+filepath.Clean(path), "%q is not clean", path)
		case path == "/":
			l.fail(key, "", `"/" is everything`)
		case stateDir == path || strings.HasPrefix(stateDir, path+"/"):
			l.fail(key, "move state_dir", "%q holds state_dir, where runs work", path)
		}
	}
	return paths
}
