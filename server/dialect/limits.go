package dialect

import (
	"encoding/json"
	"slices"
	"strings"

	"penstock/internal/bytesize"
	"penstock/server/web"
)

// Limits are a client's wishes; zero is none.
type Limits struct {
	MemoryMax int64 // bytes
	PidsMax   int64
	CPUMax    float64 // cores
}

func decodeLimits(f web.Fields) (out Limits, err error) {
	if !f.Given("limits") {
		return out, nil
	}
	l, err := f.Object("limits")
	if err != nil {
		return out, err
	}
	for key := range l {
		if !slices.Contains([]string{"memory_max", "pids_max", "cpu_max"}, key) {
			return out, web.BadRequest(web.JoinField("limits", key), "limits has memory_max, pids_max and cpu_max, not %q", web.Clip(key, 40))
		}
	}
	var ok bool
	if l.Given("memory_max") {
		if out.MemoryMax, ok = readSize(l["memory_max"]); !ok {
			return out, web.BadRequest("limits.memory_max", `limits.memory_max must be a size such as "512MiB" or a number of bytes`)
		}
	}
	if l.Given("pids_max") {
		if err := l.Into("pids_max", "limits", &out.PidsMax, "a whole number"); err != nil {
			return out, err
		}
		if out.PidsMax < 1 {
			return out, web.BadRequest("limits.pids_max", "limits.pids_max must be at least 1")
		}
	}
	if l.Given("cpu_max") {
		if out.CPUMax, ok = readCPU(l["cpu_max"]); !ok {
			return out, web.BadRequest("limits.cpu_max", `limits.cpu_max must be such as "150%%" or a number of cores, and at least 1%%`)
		}
	}
	return out, nil
}

// readSize takes bytes as a JSON number, or a size as the configuration
// writes it ("512MiB", "2G").
func readSize(raw json.RawMessage) (int64, bool) {
	n, err := bytesize.Parse(numeral(raw))
	return n, err == nil && n >= 1
}

// leastCPU is the configuration's least cpu_max too: the kernel takes no quota
// under 1 ms of its period of 100 ms.
const leastCPU = 0.01

// readCPU takes cores as a JSON number, or "150%" of one core.
func readCPU(raw json.RawMessage) (float64, bool) {
	text, percent := strings.CutSuffix(numeral(raw), "%")
	n, ok := bytesize.Decimal(text)
	if percent {
		n /= 100
	}
	return n, ok && n >= leastCPU && n < 1<<16
}

// numeral is a JSON string's or number's text.
func numeral(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	return strings.TrimSpace(s)
}
