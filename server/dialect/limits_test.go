package dialect

import (
	"encoding/json"
	"errors"
	"testing"

	"penstock/config"
)

// Sizes mean in a request what they mean in the configuration.
func TestReadSize_AsConfigured(t *testing.T) {
	for _, text := range []string{
		"64MiB", "64Mi", "64M", "64m", "64 MiB", "67108864", "67108864B", "65536K", "65536Ki", "65536kib", "100MB", "1000000kb",
		"1.5G", "0.1GiB", "1Gi", "1gb", "33.3MiB", "lots", "64MiBs", "64 Q", "", "-64MiB", "1e9", "0x10", "+64MiB",
	} {
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Load(config.Sources{
			Environ: []string{"HOME=" + t.TempDir(), "PATH=/usr/bin:/bin"}, Host: config.Host{MemoryBytes: 8 << 30},
			Flags: map[string]string{"limits.memory_max": text, "budget.memory": "8GiB"},
		})
		if text == "" { // there it is "not set"
			err = errors.New("no size")
		}
		got, ok := readSize(quoted)
		if ok != (err == nil) || ok && got != c.Limits.MemoryMax.Bytes {
			t.Errorf("%q: a request has %d (%v), the configuration %d (%v)", text, got, ok, c.Limits.MemoryMax.Bytes, err)
		}
	}
}
