package server

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

var sizeUnits = []struct {
	suffix string
	factor float64
}{
	{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}, {"tib", 1 << 40},
	{"ki", 1 << 10}, {"mi", 1 << 20}, {"gi", 1 << 30}, {"ti", 1 << 40},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9}, {"tb", 1e12},
	{"k", 1 << 10}, {"m", 1 << 20}, {"g", 1 << 30}, {"t", 1 << 40}, {"b", 1},
}

// readSize takes bytes as a JSON number, or a size as the configuration
// writes it ("512MiB", "2G").
func readSize(raw json.RawMessage) (int64, bool) {
	text, factor := numeral(raw), 1.0
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(text, u.suffix); ok {
			text, factor = strings.TrimSpace(rest), u.factor
			break
		}
	}
	n, ok := decimal(text)
	return int64(math.Round(n * factor)), ok && n*factor >= 1 && n*factor < 1<<60
}

// leastCPU is the configuration's least cpu_max too: the kernel takes no quota
// under 1 ms of its period of 100 ms.
const leastCPU = 0.01

// readCPU takes cores as a JSON number, or "150%" of one core.
func readCPU(raw json.RawMessage) (float64, bool) {
	text, percent := strings.CutSuffix(numeral(raw), "%")
	n, ok := decimal(text)
	if percent {
		n /= 100
	}
	return n, ok && n >= leastCPU && n < 1<<16
}

// numeral is a JSON string's or number's text, lower case.
func numeral(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		s = string(raw)
	}
	return strings.ToLower(strings.TrimSpace(s))
}

// decimal takes plain decimals only: no sign, exponent, hex or "inf".
func decimal(text string) (float64, bool) {
	if text == "" || len(text) > 24 || strings.Trim(text, "0123456789.") != "" {
		return 0, false
	}
	n, err := strconv.ParseFloat(text, 64)
	return n, err == nil
}
