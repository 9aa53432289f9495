package escape

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/test/escape/task"
)

// TestMatrix fills the columns of the kinds of host that PENSTOCK_ESCAPE names
// ("root user", after the name of the guest in PENSTOCK_ESCAPE_HOST), natively
// those this machine can be.
func TestMatrix(t *testing.T) {
	where, named := os.Getenv("PENSTOCK_ESCAPE_HOST"), os.Getenv("PENSTOCK_ESCAPE")
	if named == "" {
		where, named = "native", "root"
	}
	for _, kind := range strings.Fields(named) {
		t.Run(kind, func(t *testing.T) {
			h := startHost(t, where, kind)
			if h.uid != 0 {
				h.open(t, h.column(""), "", &syscall.Credential{Uid: uint32(h.uid), Gid: uint32(idOf(h.pid, "Gid:"))}).judge(t)
				return
			}
			h.open(t, h.column(""), "", nil).judge(t)
			h.open(t, h.column(", user="), "_user", number(t, otherAccount(t))).judge(t)
		})
	}
}

// column is the name of one.
func (h *host) column(more string) string {
	if h.image {
		more += ", image"
	}
	return h.kind + more
}

// judge fills a column and holds it to what is known to be open.
func (c *column) judge(t *testing.T) {
	known, told := c.openings(), documented(t, c.name)
	began := time.Now()
	defer func() { t.Logf("%s: %.0f s", c.name, time.Since(began).Seconds()) }()
	var table strings.Builder
	for _, way := range ways(t, c.attempt()) {
		if why := c.forbidden(way); why != "" {
			fmt.Fprintf(&table, "MATRIX\t%s\t%s\tn/a\t%s\n", c.name, way, why)
			continue
		}
		r := c.try(t, way)
		note := r.said
		switch r.cell() {
		case "ESCAPED":
			note = strings.Join(r.escaped, "; ")
			if known[way] == "" {
				t.Errorf("%s: %s: ESCAPED: %s (it said: %s)", c.name, way, note, r.said)
			}
		case "held":
			if known[way] != "" {
				t.Errorf("%s: %s: held (%s), but known as open: %s", c.name, way, r.said, known[way])
			}
		case "n/a":
			note = "control fails: " + r.outside
			if r.absent {
				note = "not in the image: " + r.said
			}
		}
		if want := told[way]; c.lab && want != "" && want != r.cell() {
			t.Errorf("%s: %s: %s (%s), but docs/escape-matrix.md says %s", c.name, way, r.cell(), note, want)
		}
		fmt.Fprintf(&table, "MATRIX\t%s\t%s\t%s\t%s\n", c.name, way, r.cell(), strings.ReplaceAll(note, "\n", " "))
	}
	fmt.Print(table.String())
}

// ways are the names the attempt knows; those within namespaces come with
// others.
func ways(t *testing.T, program string) []string {
	t.Helper()
	out, err := exec.Command(program, "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	only := regexp.MustCompile(os.Getenv("PENSTOCK_ESCAPE_WAY"))
	return slices.DeleteFunc(strings.Split(strings.TrimSpace(string(out)), "\n"), func(way string) bool {
		return strings.HasPrefix(way, "in: ") || !only.MatchString(way)
	})
}

// forbidden tells why a way is not tried here; "" is that it may be.
func (c *column) forbidden(way string) string {
	if strings.HasPrefix(way, task.InImage) && !c.image {
		return "of a run in an image"
	}
	if way == task.InImage+"set-ID in a bound directory" && c.base.Uid == 0 {
		return "it is root's already"
	}
	if c.lab {
		return ""
	}
	for _, name := range []string{
		"core_pattern", "modprobe path", "uevent_helper", "binfmt_misc", "cgroup v1 release_agent", "open a block device",
		"write a kernel parameter", "keyboard's SysRq", "reboot and kexec rights", "set the host's clock", "at's spool", "cron's spool", "/etc/cron.d", "at command", "a script everybody's shells run",
	} {
		if way == name {
			return "would touch this machine: tried in guests only"
		}
	}
	if strings.HasPrefix(way, "socket of ") {
		return "would put a socket on this machine: tried in guests only"
	}
	return ""
}
