package config

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
)

// credentialName is what LoadCredential= should call the tokens file.
const credentialName = "tokens"

// tokensFile is the configured one, else systemd's credential where there is one.
func (b *builder) tokensFile() string {
	const key = "tokens_file"
	path := value[string](b.layers, key)
	if path == "" {
		if path = b.credential(); path == "" {
			return ""
		}
	}
	full, f := b.expand(path)
	if f != nil {
		b.bad[key] = true
		b.reject(key, f.hint, "%s", f.message)
		return ""
	}
	return full
}

func (b *builder) credential() string {
	dir := b.env["CREDENTIALS_DIRECTORY"]
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
func (b *builder) tokens(path string) []Token {
	if path == "" {
		return nil
	}
	info, err := os.Stat(path)
	if err != nil {
		b.reject("tokens_file", "", "%s: %s", path, cause(err))
		return nil
	}
	if !info.Mode().IsRegular() {
		b.reject("tokens_file", "", "%s is not a regular file", path)
		return nil
	}
	// systemd guards its credentials itself, and may do so by an ACL that
	// shows as a group's right.
	if open := info.Mode().Perm() & 0o077; open != 0 && path != b.credential() {
		b.reject("tokens_file", "chmod 600 "+path, "%s can be read by others (mode %04o)", path, info.Mode().Perm())
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.reject("tokens_file", "", "%s: %s", path, cause(err))
		return nil
	}
	tokens, problems := parseTokens(path, data)
	b.problems = append(b.problems, problems...)
	if len(tokens) == 0 && len(problems) == 0 {
		b.reject("tokens_file", "a line is name:token", "%s holds no token", path)
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
			col, f = 1, faultf("", "the name %q is also on line %d", t.Name, names[t.Name])
		}
		if f == nil && sums[t.SHA256] > 0 {
			col, f = len(t.Name)+2, faultf("", "the same token as on line %d", sums[t.SHA256])
		}
		if f != nil {
			problems = append(problems, Problem{File: path, Line: n, Col: col, Message: f.message, Hint: f.hint})
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
func parseToken(line string) (Token, int, *fault) {
	name, secret, ok := strings.Cut(line, ":")
	if !ok {
		return Token{}, 1, faultf("a line is name:token or name:sha256:<hex>", "no colon")
	}
	if f := checkTokenName(name); f != nil {
		// The name is not shown: it may be a token on the wrong side of the colon.
		return Token{}, 1, faultf(f.hint, "the name can't be a client's")
	}
	col := len(name) + 2
	if sum, hashed := strings.CutPrefix(secret, "sha256:"); hashed {
		raw, err := hex.DecodeString(sum)
		if err != nil || len(raw) != sha256.Size {
			return Token{}, col + len("sha256:"), faultf("printf %s TOKEN | sha256sum", "want the 64 hex digits of a SHA-256")
		}
		return Token{Name: name, SHA256: [32]byte(raw)}, 0, nil
	}
	if secret == "" || strings.Trim(secret, " ") != secret || strings.ContainsAny(secret, " \t") {
		return Token{}, col, faultf("openssl rand -hex 32 makes a good one", "a token has no blanks and is not empty")
	}
	return Token{Name: name, SHA256: sha256.Sum256([]byte(secret)), Plain: true}, 0, nil
}

// checkTokenName keeps a token from passing for a client known in another way.
func checkTokenName(name string) *fault {
	if name == "anonymous" {
		return faultf("it is what a request without a token is called", "%q is reserved", name)
	}
	if name != "" && strings.Trim(name, "0123456789") == "" {
		return faultf("a client on the unix socket is known by its uid", "%q is a number", name)
	}
	return checkClientName(name)
}
