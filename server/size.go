package server

import (
	"encoding/json"
	"strings"

	"penstock/internal/bytesize"
)

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
