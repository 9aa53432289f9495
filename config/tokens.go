package config

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"

	"penstock/internal/hint"
)

// Token is one line of the tokens file.
type Token struct {
	Name   string
	SHA256 [32]byte // of the token
	Plain  bool     // the file has the token itself, for all who can read it
}

// credentialName is what LoadCredential= should call the tokens file.
const credentialName = "tokens"

// tokensFile is the configured one, else systemd's credential where there is one.
func (l *loader) tokensFile() string {
	const key = "tokens_file"
	path := l.config.TokensFile
	if path == "" {
		if path = l.credential(); path == "" {
			return ""
		}
	}
	full, f := l.expand(path)
	if f != nil {
		l.bad[key] = true
		l.fail(key, f.Hint, "%s", f.Message())
		return ""
	}
	return full
}

func (l *loader) credential() string {
	dir := l.env["CREDENTIALS_DIRECTORY"]
	if dir == "" {
		return ""
	}
	path := filepath.Join(dir, credentialName)
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// tokens reads the file. No message ever holds a token.
func (l *loader) tokens(path string) []Token {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		l.fail("tokens_file", "", "%s: %s", path, cause(err))
		return nil
	}
	if !info.Mode().IsRegular() {
		l.fail("tokens_file", "", "%s is not a regular file", path)
		return nil
	}
	// systemd guards its credentials itself, and may do so by an ACL that
	// shows as a group's right.
	if open := info.Mode().Perm() & 0o077; open != 0 && path != l.credential() {
		l.fail("tokens_file", "chmod 600 "+path, "%s can be read by others (mode %04o)", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		l.fail("tokens_file", "", "%s: %s", path, cause(err))
		return nil
	}
	tokens, problems := parseTokens(path, data)
	l.problems = append(l.problems, problems...)
	if len(tokens) == 0 && len(problems) == 0 {
		l.fail("tokens_file", "a line is name:token", "%s holds no token", path)
	}
	return tokens
}

// parseTokens reads "name:token" and "name:sha256:<hex>" lines; blank lines
// and lines that begin with # are left out.
func parseTokens(path string, data []byte) ([]Token, Problems) {
	var tokens []Token
	var problems Problems
	names, sums := map[string]int{}, map[[32]byte]int{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		t, col, f := parseToken(line)
		if f == nil && names[t.Name] > 0 {
			col, f = 1, hint.Errorf("", "the name %q is also on line %d", t.Name, names[t.Name])
		}
		if f == nil && sums[t.SHA256] > 0 {
			col, f = len(t.Name)+2, hint.Errorf("", "the same token as on line %d", sums[t.SHA256])
		}
		if f != nil {
			problems = append(problems, Problem{File: path, Line: n, Col: col, Message: f.Message(), Hint: f.Hint})
			continue
		}
		names[t.Name], sums[t.SHA256] = n, n
		tokens = append(tokens, t)
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, Problem{File: path, Message: err.Error()})
	}
	return tokens, problems
}

// parseToken returns the column of what is wrong.
func parseToken(line string) (Token, int, *hint.Error) {
	name, secret, ok := strings.Cut(line, ":")
	if !ok {
		return Token{}, 1, hint.Errorf("a line is name:token or name:sha256:<hex>", "no colon")
	}
	if f := checkTokenName(name); f != nil {
		// The name is not shown: it may be a token on the wrong side of the colon.
		return Token{}, 1, hint.Errorf(f.Hint, "the name can't be a client's")
	}
	col := len(name) + 2
	if sum, hashed := strings.CutPrefix(secret, "sha256:"); hashed {
		raw, err := hex.DecodeString(sum)
		if err != nil || len(raw) != sha256.Size {
			return Token{}, col + len("sha256:"), hint.Errorf("printf %s TOKEN | sha256sum", "want the 64 hex digits of a SHA-256")
		}
		return Token{Name: name, SHA256: [32]byte(raw)}, 0, nil
	}
	if secret == "" || strings.Trim(secret, " ") != secret || strings.ContainsAny(secret, " \t") {
		return Token{}, col, hint.Errorf("openssl rand -hex 32 makes a good one", "a token has no blanks and is not empty")
	}
	return Token{Name: name, SHA256: sha256.Sum256([]byte(secret)), Plain: true}, 0, nil
}

// checkTokenName keeps a token from passing for a client known in another way.
func checkTokenName(name string) *hint.Error {
	if name == "anonymous" {
		return hint.Errorf("it is what a request without a token is called", "%q is reserved", name)
	}
	if name != "" && strings.Trim(name, "0123456789") == "" {
		return hint.Errorf("a client on the unix socket is known by its uid", "%q is a number", name)
	}
	return checkClientName(name)
}
