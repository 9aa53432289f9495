// Package gemini is Gemini CLI: in print mode, or as an agent that is spoken to.
//
//	gemini.go   which of the two; options, environment, what its exit status says
//	prompt.go   the print mode's prompt: what stands in it as @path
//	machine.go  lines of the print mode, and those of the provider script, -> events
package gemini

import (
	"fmt"
	"path"
	"strings"

	"penstock/backend"
	"penstock/backend/acp"
	"penstock/backend/parse"
	"penstock/backend/provider"
)

// cli is Gemini CLI (0.61.0) in print mode with streamed JSON; where a run asks for it
// (Converse) and begins a session, as an ACP agent, with the machine of package acp. A
// session that is taken up always is print mode's: as an agent, gemini writes over a session
// that it loads in the clock minute of its start, and the old answers that it replays come
// after its result, where they can't be told from the new one. Both forms know each other's
// sessions, images with them.
type cli struct{ backend.Config }

func New(c backend.Config) backend.Backend { return cli{c} }

func (b cli) Name() string { return b.Config.Name }

func (b cli) Kind() string { return b.Config.Kind }

func (b cli) Framing() backend.Framing { return backend.Lines }

// Features: GEMINI_SYSTEM_MD replaces the CLI's own instructions, tools and all,
// so it is no place for a system text.
func (b cli) Features() backend.Features {
	return backend.Features{Resume: true, Images: true, Files: true, Exit: exit}
}

// converses tells which form a run takes.
func converses(r backend.Request) bool { return r.Converse && r.Session == "" }

// exit: without a login, or the session's file, it says so on stderr only (0.61.0).
func exit(status int, stderr string) *backend.Failure {
	if status == 41 {
		return parse.NoLogin("gemini has no login: " + parse.LastLine(stderr))
	}
	for line := range strings.Lines(stderr) {
		why, ok := strings.CutPrefix(line, "Error resuming session: ")
		if ok && (status == 42 || status == -1) &&
			(strings.HasPrefix(why, "No previous sessions found") || strings.HasPrefix(why, "Invalid session identifier")) {
			return parse.SessionUnknown(line)
		}
	}
	return nil
}

// defaultsFile is the lowest layer of the CLI's settings.
const defaultsFile = "gemini_defaults.json"

// defaults has no retries: ten of them take three minutes, unseen.
const defaults = `{"general":{"maxAttempts":1,"retryFetchErrors":false}}`

// Command neither asks for a soft end nor gives time to settle: a turn can be
// resumed after a SIGKILL at its result line, in both forms (measured, 10 of 10 each).
func (b cli) Command(r backend.Request) (backend.Command, error) {
	argv, err := b.argv(r)
	if err != nil {
		return backend.Command{}, fmt.Errorf("gemini: %w", err)
	}
	documents, _ := r.Documents()
	c := backend.Command{
		Argv:  append(argv, b.ExtraArgs...),
		Files: append(provider.Files(), documents...),
	}
	if r.Root {
		c.Files = append(c.Files, backend.File{Name: defaultsFile, Data: []byte(defaults)})
	}
	if converses(r) {
		c.Input = backend.Conversation
	} else {
		c.Prompt = prompt(r)
		c.Files = append(c.Files, r.ImageFiles()...)
	}
	c.Set, c.Pass = b.Environment(environment(r), "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS",
		"GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_PROJECT", "GOOGLE_GEMINI_BASE_URL",
		"GOOGLE_GENAI_USE_GCA", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_VERTEX_BASE_URL")
	return c, nil
}

// environment keeps the CLI one process: else it starts itself anew, the first
// process ignores SIGTERM and the second sizes its heap by the host's memory.
// The defaults are read only from a file of root's in directories of root's; of
// another user's run the machine ends the retries (machine.go).
func environment(r backend.Request) map[string]string {
	set := map[string]string{
		"TMPDIR":                 r.Tmp,
		"GEMINI_CLI_NO_RELAUNCH": "1",
		"NODE_OPTIONS":           provider.NodeOptions(r),
	}
	if r.Root {
		set["GEMINI_CLI_SYSTEM_DEFAULTS_PATH"] = path.Join(r.Dir, defaultsFile)
	}
	return set
}

func (b cli) argv(r backend.Request) ([]string, error) {
	mode, ok := map[string]string{"bypass": "yolo", "plan": "plan", "default": "default"}[b.PermissionMode(r)]
	if !ok {
		return nil, fmt.Errorf("permissions %q: use bypass, plan or default", b.PermissionMode(r))
	}
	argv := []string{"--output-format", "stream-json"}
	if converses(r) {
		argv = []string{"--acp"}
	}
	argv = append(argv, "--approval-mode", mode, "--skip-trust")
	for _, option := range []struct{ what, name, value string }{
		{"model", "--model", r.Model}, {"session", "--resume", r.Session},
	} {
		if option.value == "" {
			continue
		}
		if err := backend.CheckArgument(option.what, option.value); err != nil {
			return nil, err
		}
		argv = append(argv, option.name, option.value)
	}
	for _, dir := range directories(r) {
		if strings.Contains(dir, ",") {
			return nil, fmt.Errorf("directory %q: gemini takes a comma as the end of a directory's name (hint: move state_dir)", dir)
		}
		argv = append(argv, "--include-directories", dir)
	}
	return argv, nil
}

// directories are those outside of the working directory that gemini is to read in: it
// reads in no other, and says nothing of an @path that it doesn't read.
func directories(r backend.Request) []string {
	var all []string
	if documents, _ := r.Documents(); documents != nil {
		all = append(all, path.Join(r.Dir, backend.DocumentDir))
	}
	if len(r.Images()) > 0 && !converses(r) {
		all = append(all, path.Join(r.Dir, backend.ImageDir))
	}
	return all
}

func (b cli) Machine(r backend.Request) backend.Machine {
	if converses(r) {
		return acp.NewGemini(r, b.PermissionMode(r))
	}
	return &machine{}
}
