package proxies

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nginx runs the page's server block. where is the daemon's address and its own.
func nginx(t *testing.T, site, where string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	upstream, address, _ := strings.Cut(where, " ")
	cert, key := certificate(t, dir)
	for _, change := range [][2]string{
		{"listen 443 ssl", "listen " + address + " ssl"}, {"127.0.0.1:3344", upstream},
		{"/etc/ssl/agents.pem", cert}, {"/etc/ssl/agents.key", key},
	} {
		if !strings.Contains(site, change[0]) {
			t.Fatalf("the page's server block has no %q", change[0])
		}
		site = strings.ReplaceAll(site, change[0], change[1])
	}
	var paths strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
	}
	conf := write(t, dir, "nginx.conf", fmt.Sprintf(
		"daemon off;\nmaster_process off;\npid %s/pid;\nerror_log stderr warn;\nevents {}\nhttp {\naccess_log off;\n%s\n%s\n}\n", dir, paths.String(), site))
	return exec.Command("nginx", "-c", conf, "-p", dir, "-e", "stderr")
}

// caddy runs the page's site, with a certificate of its own: there is nobody here
// who would sign one.
func caddy(t *testing.T, site, where string) *exec.Cmd {
	t.Helper()
	dir := t.TempDir()
	upstream, address, _ := strings.Cut(where, " ")
	cert, key := certificate(t, dir)
	port := address[strings.LastIndexByte(address, ':')+1:]
	for _, change := range [][2]string{
		{host + " {\n", fmt.Sprintf("https://%s:%s {\n\tbind 127.0.0.1\n\ttls %s %s\n", host, port, cert, key)}, {"127.0.0.1:3344", upstream},
	} {
		if !strings.Contains(site, change[0]) {
			t.Fatalf("the page's site has no %q", change[0])
		}
		site = strings.ReplaceAll(site, change[0], change[1])
	}
	conf := write(t, dir, "Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n"+site)
	cmd := exec.Command("caddy", "run", "--config", conf, "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	return cmd
}

func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}))),
		write(t, dir, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
}

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
