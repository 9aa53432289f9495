package backend

import (
	"maps"
	"slices"
	"strings"
)

// BasePass are the names every child may have from the daemon's environment:
// whose it is, where programs are, its language, and how to reach the network.
//
// XDG_* is not among them. XDG_RUNTIME_DIR leads to the user's service manager,
// through which a child could leave its cage, and the base directories would
// point out of a private HOME; an operator who moved his names them in `env`.
// For the same reason neither DBUS_SESSION_BUS_ADDRESS nor SSH_AUTH_SOCK is here.
func BasePass() []string {
	return []string{
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TERM",
		"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
	}
}

// BasePassInImage are those that mean something where programs, users and homes are the
// image's.
func BasePassInImage() []string {
	return slices.DeleteFunc(BasePass(), func(name string) bool {
		return slices.Contains([]string{"PATH", "HOME", "USER", "LOGNAME", "SHELL"}, name)
	})
}

// CAVariables name files with the certificates that programs are to trust, or directories of
// them.
func CAVariables() []string {
	return []string{
		"SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
		"GIT_SSL_CAINFO", "GIT_SSL_CAPATH", "PIP_CERT", "AWS_CA_BUNDLE", "CARGO_HTTP_CAINFO", "DENO_CERT",
	}
}

// MergeEnv is the first list with later ones laid over it, name by name.
func MergeEnv(lists ...[]string) []string {
	at := map[string]int{}
	var out []string
	for _, list := range lists {
		for _, entry := range list {
			name, _, _ := strings.Cut(entry, "=")
			if i, ok := at[name]; ok {
				out[i] = entry
				continue
			}
			at[name] = len(out)
			out = append(out, entry)
		}
	}
	return out
}

// Env is a child's complete environment, as sorted NAME=value: what pass names
// of the daemon's own, and over it all of set. A name in pass is exact and asked
// of lookup, or PREFIX_* and matched with environ; what belongs to the daemon
// alone (see private) is passed on by neither. TERM is "dumb" unless set
// otherwise: no child has a terminal.
func Env(lookup func(string) (string, bool), environ []string, pass []string, set map[string]string) []string {
	env := map[string]string{"TERM": "dumb"}
	for _, name := range pass {
		for name, value := range matches(lookup, environ, name) {
			if valid(name) && !private(name) {
				env[name] = value
			}
		}
	}
	for name, value := range set {
		if valid(name) {
			env[name] = value
		}
	}
	out := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		out = append(out, name+"="+env[name])
	}
	return out
}

// matches are the daemon's variables that one entry of an allowlist names. A
// lone "*" is no prefix and names nothing: it would undo the list.
func matches(lookup func(string) (string, bool), environ []string, name string) map[string]string {
	found := map[string]string{}
	prefix, pattern := strings.CutSuffix(name, "*")
	if !pattern {
		if value, ok := lookup(name); ok {
			found[name] = value
		}
		return found
	}
	if prefix == "" {
		return found
	}
	for _, entry := range environ {
		if name, value, ok := strings.Cut(entry, "="); ok && strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

func valid(name string) bool { return name != "" && !strings.ContainsAny(name, "=\x00") }

// private is true for what concerns the daemon alone: its own settings, the
// descriptors and sockets the service manager gave it (sd_notify(3),
// sd_listen_fds(3)), and its credentials and directories (systemd.exec(5)).
func private(name string) bool {
	for _, prefix := range []string{"PENSTOCK_", "LISTEN_", "WATCHDOG_", "MEMORY_PRESSURE_", "SYSTEMD_"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	switch name {
	case "NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "ENCRYPTED_CREDENTIALS_DIRECTORY", "FDSTORE",
		"MAINPID", "MANAGERPID", "MANAGERPIDFDID", "MAINPIDFDID", "INVOCATION_ID", "JOURNAL_STREAM",
		"STATE_DIRECTORY", "RUNTIME_DIRECTORY", "CACHE_DIRECTORY", "LOGS_DIRECTORY", "CONFIGURATION_DIRECTORY":
		return true
	}
	return false
}
