package check

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"penstock/config"
)

// unitDirs are where systemd finds units and their drop-ins, the first before the others.
var unitDirs = []string{"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

// unitFindings tells what the installed unit lacks for runs in images: check itself is most
// often not in it, and may do what it can't.
func unitFindings(c config.Config, dirs []string) []Finding {
	if !slices.ContainsFunc(slices.Collect(maps.Values(c.Backends)), func(b config.Backend) bool { return b.Image != "" }) {
		return nil
	}
	service := readUnit(dirs, "penstock.service")
	if service == nil {
		return nil
	}
	f := Finding{Area: "image", Name: "unit", OK: true, Detail: "penstock.service has what bubblewrap needs"}
	if missing := missingForImages(service); len(missing) > 0 {
		f.OK, f.Advice = false, true
		f.Detail = "penstock.service lacks " + strings.Join(missing, ", ")
		f.Remedy = "install the drop-in systemd/image.conf, of the package /usr/share/doc/penstock/examples/image.conf, in /etc/systemd/system/penstock.service.d; systemctl daemon-reload"
	}
	return []Finding{f}
}

// missingForImages are the lines of image.conf that a unit lacks, and needs.
func missingForImages(service map[string][]string) (missing []string) {
	is := func(key string) bool {
		all := service[key]
		return len(all) > 0 && slices.Contains([]string{"yes", "true", "on", "1", "private"}, strings.ToLower(all[len(all)-1]))
	}
	if filter := strings.Fields(strings.Join(service["SystemCallFilter"], " ")); len(filter) > 0 {
		for _, call := range []string{"@mount", "sethostname"} {
			if !slices.Contains(filter, call) {
				missing = append(missing, "SystemCallFilter="+call)
			}
		}
	}
	if is("ProtectHostname") {
		missing = append(missing, "ProtectHostname=no")
	}
	if is("RestrictSUIDSGID") && !is("DynamicUser") { // which can't do without
		missing = append(missing, "RestrictSUIDSGID=no")
	}
	// root mounts a /proc whatever is covered.
	ordinary := is("DynamicUser") || len(service["User"]) > 0 && !slices.Contains([]string{"root", "0"}, service["User"][len(service["User"])-1])
	uncovered := func(bind string) bool {
		return strings.HasPrefix(bind, "/proc:") && strings.HasSuffix(bind, ":norbind")
	}
	if ordinary && (is("ProtectKernelTunables") || is("ProtectKernelLogs")) && !slices.ContainsFunc(service["BindPaths"], uncovered) {
		missing = append(missing, "BindPaths=/proc:/run/penstock.proc:norbind")
	}
	return missing
}

// readUnit reads the values of a service's keys, with its drop-ins, as systemd does: an empty one
// forgets those before it. Nil is no such unit.
func readUnit(dirs []string, name string) map[string][]string {
	var text []byte
	dropIns := map[string]string{}
	for _, dir := range slices.Backward(dirs) { // those of the first count
		if t, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			text = t
		}
		found, _ := filepath.Glob(filepath.Join(dir, name+".d", "*.conf")) // the pattern is well-formed
		for _, path := range found {
			dropIns[filepath.Base(path)] = path
		}
	}
	if text == nil {
		return nil
	}
	values := map[string][]string{}
	take(values, string(text))
	for _, base := range slices.Sorted(maps.Keys(dropIns)) {
		if t, err := os.ReadFile(dropIns[base]); err == nil {
			take(values, string(t))
		}
	}
	return values
}

func take(values map[string][]string, text string) {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		switch key, value = strings.TrimSpace(key), strings.TrimSpace(value); {
		case !ok || section != "[Service]" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";"):
		case value == "":
			delete(values, key)
		default:
			values[key] = append(values[key], value)
		}
	}
}
