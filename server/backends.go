package server

import (
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"penstock/backend"
	"penstock/backend/kinds"
	"penstock/config"
	"penstock/run"
	"penstock/run/inimage"
	"penstock/server/health"
	"penstock/server/web"
)

// configuredBackend is one configured backend, ready to be asked.
type configuredBackend struct {
	config  config.Backend
	backend backend.Backend
	env     []string       // what a child may have of the daemon's environment
	user    *run.User      // nil is the daemon's own
	image   *inimage.Image // nil is the host's file system
}

// backends are all backends by name; fixed for the daemon's life.
type backends map[string]*configuredBackend

func newBackends(c config.Config) (backends, error) {
	out := backends{}
	for name, b := range c.Backends {
		one, err := newBackend(b)
		if err != nil {
			return nil, fmt.Errorf("backend %s: %w", name, err)
		}
		out[name] = one
	}
	return out, nil
}

func newBackend(b config.Backend) (*configuredBackend, error) {
	made, err := kinds.New(backend.Config{
		Name: b.Name, Kind: b.Kind, ExtraArgs: b.ExtraArgs, SetEnv: b.SetEnv, Env: b.Env, Permissions: b.Permissions,
	})
	if err != nil {
		return nil, err
	}
	u, err := lookupUser(b.User)
	if err != nil {
		return nil, fmt.Errorf("user: %w", err)
	}
	env, err := environment(made, b.Image != "")
	if err != nil {
		return nil, err
	}
	return &configuredBackend{config: b, backend: made, env: env, user: u}, nil
}

// probeRequest asks for as little as a run can.
var probeRequest = backend.Request{Prompt: "?", Cwd: "/", Tmp: "/", Dir: "/"}

// environment is what the backend's children get of the daemon's own: an
// allowlist, never the whole. What the backend sets itself comes on top later.
func environment(b backend.Backend, inImage bool) ([]string, error) {
	command, err := b.Command(probeRequest)
	if err != nil {
		return nil, err
	}
	pass := backend.BasePass()
	if inImage {
		pass = backend.BasePassInImage()
	}
	return backend.Env(os.LookupEnv, os.Environ(), append(pass, command.Pass...), nil), nil
}

func lookupUser(name string) (*run.User, error) {
	if name == "" {
		return nil, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	ids, err := u.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("groups of %s: %w", name, err)
	}
	out := &run.User{Name: u.Username, Home: u.HomeDir}
	numbers := append([]string{u.Uid, u.Gid}, ids...)
	parsed := make([]uint32, len(numbers))
	for i, s := range numbers {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("ids of %s: %w", name, err)
		}
		parsed[i] = uint32(n)
	}
	out.UID, out.GID, out.Groups = parsed[0], parsed[1], parsed[2:]
	return out, nil
}

// users are the ids that runs may have beside the daemon's own.
func (a backends) users() []int {
	var out []int
	for _, one := range a {
		if one.user != nil {
			out = append(out, int(one.user.UID))
		}
	}
	return out
}

// probeTargets are the backends to be asked for their versions. The demo backend is the
// daemon's own program.
func (a backends) probeTargets(own string) []health.Target {
	var out []health.Target
	for _, name := range a.names() {
		c := a[name].config
		t := health.Target{Name: name, Probe: run.Probe{Argv: c.Command, Env: a[name].env, User: a[name].user, Image: a[name].image}, Configured: c.Configured, Missing: c.Missing != ""}
		if kind, ok := kinds.Find(c.Kind); ok {
			t.HasVersion = kind.Program != ""
		}
		if c.Kind == "demo" {
			t.Version = own
		}
		out = append(out, t)
	}
	return out
}

// names are the backends in a fixed order.
func (a backends) names() []string {
	var out []string
	for name := range a {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// find takes a backend's name or one of its aliases.
func (a backends) find(name string) (*configuredBackend, bool) {
	if found, ok := a[name]; ok {
		return found, true
	}
	for _, one := range a {
		if slices.Contains(one.config.Aliases, name) {
			return one, true
		}
	}
	for _, kind := range kinds.All() {
		if kind.Alias != "" && kind.Alias == name {
			found, ok := a[kind.Name]
			return found, ok
		}
	}
	return nil, false
}

// resolve splits <backend>[/<model>]; model is "" where the CLI is to use its
// own default.
func (a backends) resolve(id string) (*configuredBackend, string, error) {
	rest := strings.TrimPrefix(id, "bridge/")
	name, model, named := strings.Cut(rest, "/")
	found, ok := a.find(name)
	if !ok {
		return nil, "", modelNotFound(id, "no backend %q: known are %s", web.Clip(name, 60), strings.Join(a.names(), ", "))
	}
	if !named {
		return found, found.config.DefaultModel, nil
	}
	if !found.accepts(model) {
		return nil, "", modelNotFound(id, "backend %s has no model %q; backends known are %s", name, web.Clip(model, 60), strings.Join(a.names(), ", "))
	}
	return found, model, nil
}

// accepts tells whether the backend may be asked for the model. What is listed
// is a help, not a fence: the CLIs learn new models faster than files do. A
// plain program has no models beyond those listed for it.
func (a *configuredBackend) accepts(model string) bool {
	if slices.Contains(a.config.Models, model) || (model != "" && model == a.config.DefaultModel) {
		return true
	}
	if a.config.Kind == "exec" || a.config.Kind == "demo" {
		return false
	}
	// A dash in front would be read as an option by the CLI.
	return model != "" && !strings.HasPrefix(model, "-") && !strings.ContainsAny(model, " \t")
}

func modelNotFound(id, format string, args ...any) *web.Error {
	e := web.Errorf(web.ModelNotFound, "model %q: "+format, append([]any{web.Clip(id, 100)}, args...)...)
	e.Param = "model"
	return e
}

// missing says in words why the backend can't run; "" when it can.
func (a *configuredBackend) missing() string {
	if a.config.Missing == "" {
		return ""
	}
	return fmt.Sprintf("backend %s: %s (hint: install it, or set backends.%s.command)", a.config.Name, a.config.Missing, a.config.Name)
}

// effortNone is OpenAI's word for as little thinking as there can be.
const effortNone = "none"

// effortWords are what a program of our own protocol may be asked for: every
// word one of the known CLIs has.
var effortWords = []string{effortNone, "off", "minimal", "low", "medium", "high", "xhigh", "max"}

// effort refuses a word the backend does not know, naming those it takes. The
// backend decides: a command for the word alone is asked of it.
func (a *configuredBackend) effort(word string) error {
	if word == "" {
		return nil
	}
	if k := a.config.Kind; (k == "jsonl" || k == "demo") && !slices.Contains(effortWords, word) {
		return web.BadRequest("effort", "effort %q: use one of %s", web.Clip(word, 40), strings.Join(effortWords, ", "))
	}
	r := probeRequest
	r.Effort = word
	if _, err := a.backend.Command(r); err != nil {
		return web.BadRequest("effort", "backend %s: %s", a.config.Name, err)
	}
	return nil
}

// effortWord is the backend's own word for the effort asked for. For none, which
// asks for nothing that could be missed, it may be "".
func (a *configuredBackend) effortWord(asked string) (string, error) {
	err := a.effort(asked)
	if err == nil || asked != effortNone {
		return asked, err
	}
	if a.effort("off") == nil {
		return "off", nil
	}
	return "", nil
}
