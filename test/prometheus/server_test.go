package prometheus

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"penstock/test/daemon"
)

// server is a Prometheus of this test's own, on the loopback interface.
type server struct {
	url string
	log string
}

// binary is Debian's prometheus, or one that was put beside the penstock under test.
func binary(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("prometheus"); err == nil {
		return path
	}
	path := filepath.Join(filepath.Dir(daemon.Binary(t)), "prometheus")
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("PENSTOCK_LAB") != "" {
			t.Fatal("the lab has no prometheus")
		}
		t.Skip("no prometheus on this machine: it is in Debian's package of that name (make prometheus installs it)")
	}
	return path
}

// serve starts Prometheus with the rules that are shipped, scraping target with
// its token, and waits until it has done so once. It ends with the test.
func serve(t *testing.T, target, token string) *server {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "token"), token)
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: %[1]s, evaluation_interval: %[1]s}
rule_files: [%[2]q]
scrape_configs:
  - job_name: penstock
    static_configs: [{targets: [%[3]q]}]
    authorization: {credentials_file: %[4]q}
`, scrapeInterval(), filepath.Join(daemon.Top(t), "metrics", "rules", "*.yaml"), target, filepath.Join(dir, "token")))
	address := freeAddress(t)
	s := &server{url: "http://" + address, log: filepath.Join(dir, "log")}
	log, err := os.Create(s.log)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary(t), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--enable-feature=exemplar-storage")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		_ = log.Close()
	})
	if err := daemon.Eventually(bound(), func() error {
		found, err := s.instant(`up{job="penstock"} == 1`)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s is not up", target)
		}
		return err
	}); err != nil {
		text, _ := os.ReadFile(s.log)
		t.Fatalf("prometheus: %v\n%s", err, text)
	}
	return s
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// get decodes the data of one call of the HTTP API.
func (s *server) get(path string, parameters url.Values, data any) error {
	resp, err := http.Get(s.url + "/api/v1/" + path + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	reply := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(resp.Body).Decode(&reply); err != nil {
		return fmt.Errorf("%s: %s: %w", path, resp.Status, err)
	}
	if reply.Status != "success" {
		return fmt.Errorf("%s: %s", path, reply.Error)
	}
	return nil
}

// series is one labelled line of points.
type series struct {
	Labels map[string]string `json:"metric"`
	Points []point           `json:"values"`
	Point  *point            `json:"value,omitempty"` // of an instant query
}

// point is a time in seconds and a value, which may be "NaN".
type point struct {
	At    float64
	Value string
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *point) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&p.At, &p.Value})
}

// MarshalJSON implements json.Marshaler.
func (p point) MarshalJSON() ([]byte, error) { return json.Marshal([]any{p.At, p.Value}) }

// instant asks as of now.
func (s *server) instant(expr string) ([]series, error) {
	var found struct{ Result []series }
	err := s.get("query", url.Values{"query": {expr}}, &found)
	for i, one := range found.Result {
		if one.Point != nil {
			found.Result[i].Points = []point{*one.Point}
		}
	}
	return found.Result, err
}

// over asks for each step of a time.
func (s *server) over(expr string, from, to time.Time, step time.Duration) ([]series, error) {
	var found struct{ Result []series }
	second := func(t time.Time) string { return fmt.Sprintf("%.3f", float64(t.UnixMilli())/1000) }
	err := s.get("query_range", url.Values{
		"query": {expr}, "start": {second(from)}, "end": {second(to)}, "step": {fmt.Sprint(step.Seconds())},
	}, &found)
	return found.Result, err
}

// name is a series as its legend says it.
func (one series) name(legend string) string {
	for label, value := range one.Labels {
		legend = strings.ReplaceAll(legend, "{{"+label+"}}", value)
	}
	return legend
}
