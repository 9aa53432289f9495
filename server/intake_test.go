package server

import (
	"strings"
	"testing"

	"penstock/server/web"
)

// A request that runs, is refused, attaches or is wrong holds nothing any more.
func TestIntakeIsGivenBack(t *testing.T) {
	d := opened(t)
	h := d.handler()
	large := strings.Repeat("#", 3<<20) + "\necho x"
	for _, body := range []string{
		chatBody("sh", large, false, ""), chatBody("sh", large, true, ""), chatBody("nosuch", large, false, ""),
		chatBody("sh", large, false, `,"n":2`), chatBody("sh", large, false, "")[:3<<20], chatBody("sh", large, false, `,"x":"`+strings.Repeat("y", web.BodyMax)+`"`),
	} {
		for range 2 {
			h.ServeHTTP(newRecorder(), asked("POST", "/v1/chat/completions", body))
			h.ServeHTTP(newRecorder(), asked("POST", "/translate", body))
		}
	}
	eventually(t, "all is given back", d.intake.Idle)
}
