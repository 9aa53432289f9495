// Package bubblewrap turns an OCI specs.Spec into the arguments of bubblewrap: no other
// package knows them. Files come by descriptors, which the Spec names as /proc/self/fd/N.
//
// The Spec is one of package bundle: beside the kernel's file systems its mounts are of
// the types Dir, Symlink and Copy, for what isn't mounted but made, in order.
package bubblewrap

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// Types of mounts that no kernel has.
const (
	Dir     = "directory" // made, with the option mode=
	Symlink = "symlink"   // made, to Source
	Copy    = "copy"      // a file made, of what is read from the descriptor Source
)

// Source names a descriptor of bubblewrap's.
func Source(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// Descriptors are what bubblewrap has beside the Spec's sources.
type Descriptors struct {
	Args    int // what Args returns
	Status  int // gets the number of process 1 outside
	Program int // what is executed as process 1
}

// Argv is its command line, of which nothing is secret.
func Argv(bubblewrap string, d Descriptors, programArgs ...string) []string {
	return append([]string{bubblewrap, "--args", strconv.Itoa(d.Args), "--", Source(d.Program)}, programArgs...)
}

// Args are all its options, as it reads them from a descriptor.
func Args(s *specs.Spec, d Descriptors) ([]byte, error) {
	a := &arguments{}
	a.add("--as-pid-1", "--json-status-fd", strconv.Itoa(d.Status), "--chdir", "/")
	if s.Linux == nil {
		return nil, fmt.Errorf("bubblewrap: the spec has no namespaces")
	}
	for _, n := range s.Linux.Namespaces {
		if err := a.namespace(n); err != nil {
			return nil, err
		}
	}
	if s.Hostname != "" {
		a.add("--hostname", s.Hostname)
	}
	for _, m := range s.Mounts {
		if err := a.mount(m); err != nil {
			return nil, fmt.Errorf("bubblewrap: mount %s: %w", m.Destination, err)
		}
	}
	// Last, and the innermost first: until now mount points were made in them.
	slices.Reverse(a.readonly)
	for _, path := range a.readonly {
		a.add("--remount-ro", path)
	}
	for _, arg := range a.list {
		if strings.ContainsRune(arg, 0) {
			return nil, fmt.Errorf("bubblewrap: %q: a NUL in an argument", arg)
		}
	}
	return append(bytes.Join(a.bytes(), []byte{0}), 0), nil
}

// arguments under construction.
type arguments struct {
	list     []string
	readonly []string // tmpfs that are to be read-only at the end
}

func (a *arguments) add(args ...string) { a.list = append(a.list, args...) }

func (a *arguments) bytes() (all [][]byte) {
	for _, arg := range a.list {
		all = append(all, []byte(arg))
	}
	return all
}

func (a *arguments) namespace(n specs.LinuxNamespace) error {
	if n.Path != "" {
		return fmt.Errorf("bubblewrap: namespace %s: joining one that is there", n.Type)
	}
	switch n.Type {
	case specs.MountNamespace: // always
	case specs.PIDNamespace:
		a.add("--unshare-pid")
	case specs.IPCNamespace:
		a.add("--unshare-ipc")
	case specs.UTSNamespace:
		a.add("--unshare-uts")
	case specs.CgroupNamespace:
		a.add("--unshare-cgroup")
	case specs.NetworkNamespace:
		a.add("--unshare-net")
	case specs.UserNamespace:
		// Process 1 mounts, too, and then gives them away.
		a.add("--unshare-user", "--cap-add", "CAP_SYS_ADMIN", "--cap-add", "CAP_SETPCAP")
	default:
		return fmt.Errorf("bubblewrap: namespace %s: unknown", n.Type)
	}
	return nil
}

// mount takes one line of the Spec. An option that would not be heeded is an error.
func (a *arguments) mount(m specs.Mount) error {
	o, err := parseOptions(m.Options)
	if err != nil {
		return err
	}
	switch m.Type {
	case "proc":
		a.add("--proc", m.Destination)
	case "devtmpfs": // the minimal one of containers, not the kernel's
		a.add("--dev", m.Destination)
		if o.readonly {
			a.readonly = append(a.readonly, m.Destination)
		}
	case "tmpfs":
		// One without a size is half the host's memory.
		if o.size <= 0 {
			return fmt.Errorf("a tmpfs without a size")
		}
		if o.mode != "" {
			a.add("--perms", o.mode)
		}
		a.add("--size", strconv.FormatInt(o.size, 10), "--tmpfs", m.Destination)
		if o.readonly {
			a.readonly = append(a.readonly, m.Destination)
		}
	case "bind":
		fd, err := descriptor(m.Source)
		if err != nil {
			return err
		}
		option := "--bind-fd"
		if o.readonly {
			option = "--ro-bind-fd"
		}
		a.add(option, fd, m.Destination)
	case Dir:
		if o.mode != "" {
			a.add("--perms", o.mode)
		}
		a.add("--dir", m.Destination)
	case Symlink:
		a.add("--symlink", m.Source, m.Destination)
	case Copy:
		fd, err := descriptor(m.Source)
		if err != nil {
			return err
		}
		if o.mode != "" {
			a.add("--perms", o.mode)
		}
		a.add("--file", fd, m.Destination)
	default:
		return fmt.Errorf("type %q: unknown", m.Type)
	}
	return nil
}

// descriptor takes no path: bubblewrap would look it up when a run may have swapped it.
func descriptor(source string) (string, error) {
	fd, ok := strings.CutPrefix(source, Source(0)[:len(Source(0))-1])
	if n, err := strconv.Atoi(fd); !ok || err != nil || n < 3 {
		return "", fmt.Errorf("source %q is no descriptor", source)
	}
	return fd, nil
}
