package config

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseTokens(t *testing.T) {
	sum := sha256.Sum256([]byte("secret-a"))
	hash := hex.EncodeToString(sum[:])
	tests := []struct {
		name, text string
		want       []string // names
		problems   []string
	}{
		{"plain and hashed", "# who\n\na:secret-b\nb:sha256:" + hash + "\n", []string{"a", "b"}, nil},
		{"colon in token", "a:x:y", []string{"a"}, nil},
		{"no colon", "justasecret", nil, []string{"f:1:1: no colon (hint: a line is name:token or name:sha256:<hex>)"}},
		{"empty token", "a:", nil, []string{"f:1:3: a token has no blanks and is not empty (hint: openssl rand -hex 32 makes a good one)"}},
		{"blank in token", "a:se cret", nil, []string{"f:1:3: a token has no blanks and is not empty (hint: openssl rand -hex 32 makes a good one)"}},
		{"short hash", "a:sha256:abcd", nil, []string{"f:1:10: want the 64 hex digits of a SHA-256 (hint: printf %s TOKEN | sha256sum)"}},
		{"same name", "a:secret-b\na:secret-c", []string{"a"}, []string{`f:2:1: the name "a" is also on line 1`}},
		{"same token, once hashed", "a:secret-a\nb:sha256:" + hash, []string{"a"}, []string{"f:2:3: the same token as on line 1"}},
		{"anonymous", "anonymous:secret-b", nil, []string{"f:1:1: the name can't be a client's (hint: it is what a request without a token is called)"}},
		{"uid", "1000:secret-b", nil, []string{"f:1:1: the name can't be a client's (hint: a client on the unix socket is known by its uid)"}},
		{"two problems", "other:secret-b\nsecret c:x", nil, []string{
			"f:1:1: the name can't be a client's (hint: metrics count all unnamed clients under it)",
			"f:2:1: the name can't be a client's (hint: letters, digits, dot, dash and underscore, at most 64)",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tokens, problems := parseTokens("f", []byte(tt.text))
			var names, texts []string
			for _, k := range tokens {
				names = append(names, k.Name)
			}
			for _, p := range problems {
				texts = append(texts, p.String())
			}
			if diff := cmp.Diff(tt.want, names); diff != "" {
				t.Errorf("names:\n%s", diff)
			}
			if diff := cmp.Diff(tt.problems, texts); diff != "" {
				t.Errorf("problems:\n%s", diff)
			}
			if all := strings.Join(texts, "\n"); strings.Contains(all, "secret") {
				t.Errorf("a message tells a secret: %s", all)
			}
		})
	}
	for text, plain := range map[string]bool{"a:secret-a\n": true, "a:sha256:" + hash: false} {
		tokens, _ := parseTokens("f", []byte(text))
		if diff := cmp.Diff([]Token{{Name: "a", SHA256: sum, Plain: plain}}, tokens); diff != "" {
			t.Error(diff)
		}
	}
}

func TestTokens_Credential(t *testing.T) {
	s := newScene(t)
	dir := filepath.Join(s.dir, "credentials")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, credentialName), []byte("alice:x\n"), 0o440); err != nil {
		t.Fatal(err)
	}
	s.sources.Environ = append(s.sources.Environ, "CREDENTIALS_DIRECTORY="+dir)
	c, err := s.load(t, `listen = "0.0.0.0:0"`)
	if err != nil || len(c.Tokens) != 1 || c.Tokens[0].Name != "alice" {
		t.Errorf("tokens %v, %v", c.Tokens, err)
	}
}
