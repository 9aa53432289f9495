package backend

import (
	"fmt"
	"path"
	"strings"
)

// geminiBackend is Gemini CLI in print mode with streamed JSON (0.61.0). Its ACP
// mode is not used: there a session/load in the clock minute of the session's
// start destroys the session, and the old answers it replays come after its
// result, where they can't be told from the new one.
type geminiBackend struct{ Config }

func newGemini(c Config) Backend { return geminiBackend{c} }

func (b geminiBackend) Name() string     { return b.Config.Name }
func (b geminiBackend) Kind() string     { return b.Config.Kind }
func (b geminiBackend) Framing() Framing { return Lines }

// Features: GEMINI_SYSTEM_MD replaces the CLI's own instructions, tools and all,
// so it is no place for a system text.
func (b geminiBackend) Features() Features { return Features{Resume: true, Exit: geminiExit} }

// geminiExit: without a login, or the session's file, it says so on stderr only (0.61.0).
func geminiExit(status int, stderr string) *Failure {
	if status == 41 {
		return noLogin("gemini has no login: " + lastLine(stderr))
	}
	for line := range strings.Lines(stderr) {
		why, ok := strings.CutPrefix(line, "Error resuming session: ")
		if ok && (status == 42 || status == -1) &&
			(strings.HasPrefix(why, "No previous sessions found") || strings.HasPrefix(why, "Invalid session identifier")) {
			return sessionUnknown(line)
		}
	}
	return nil
}

// geminiDefaultsFile is the lowest layer of the CLI's settings.
const geminiDefaultsFile = "gemini_defaults.json"

// geminiDefaults has no retries: ten of them take three minutes, unseen.
const geminiDefaults = `{"general":{"maxAttempts":1,"retryFetchErrors":false}}`

// Command neither asks for a soft end nor gives time to settle: a turn can be
// resumed after a SIGKILL at its result line (measured, 10 of 10).
func (b geminiBackend) Command(r Request) (Command, error) {
	argv, err := b.argv(r)
	if err != nil {
		return Command{}, fmt.Errorf("gemini: %w", err)
	}
	c := Command{
		Argv:   append(argv, b.ExtraArgs...),
		Prompt: []byte(notACommand(string(promptWithSystem(r)))),
		Files:  providerFiles(),
	}
	if r.Root {
		c.Files = append(c.Files, File{Name: geminiDefaultsFile, Data: []byte(geminiDefaults)})
	}
	c.Set, c.Pass = b.environment(geminiEnv(r), "GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS",
		"GOOGLE_CLOUD_LOCATION", "GOOGLE_CLOUD_PROJECT", "GOOGLE_GEMINI_BASE_URL",
		"GOOGLE_GENAI_USE_GCA", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_VERTEX_BASE_URL")
	return c, nil
}

// geminiEnv keeps the CLI one process: else it starts itself anew, the first
// process ignores SIGTERM and the second sizes its heap by the host's memory.
// The defaults are read only from a file of root's in directories of root's; of
// another user's run the machine ends the retries (gemini_machine.go).
func geminiEnv(r Request) map[string]string {
	set := map[string]string{
		"TMPDIR":                 r.Tmp,
		"GEMINI_CLI_NO_RELAUNCH": "1",
		"NODE_OPTIONS":           nodeOptions(r),
	}
	if r.Root {
		set["GEMINI_CLI_SYSTEM_DEFAULTS_PATH"] = path.Join(r.Dir, geminiDefaultsFile)
	}
	return set
}

func (b geminiBackend) argv(r Request) ([]string, error) {
	mode, ok := map[string]string{"bypass": "yolo", "plan": "plan", "default": "default"}[b.permissions(r)]
	if !ok {
		return nil, fmt.Errorf("permissions %q: use bypass, plan or default", b.permissions(r))
	}
	argv := []string{"--output-format", "stream-json", "--approval-mode", mode, "--skip-trust"}
	for _, option := range []struct{ what, name, value string }{
		{"model", "--model", r.Model}, {"session", "--resume", r.Session},
	} {
		if option.value == "" {
			continue
		}
		if err := argument(option.what, option.value); err != nil {
			return nil, err
		}
		argv = append(argv, option.name, option.value)
	}
	return argv, nil
}

func (b geminiBackend) Machine(Request) Machine { return &geminiMachine{} }
