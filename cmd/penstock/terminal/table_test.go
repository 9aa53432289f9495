package terminal

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"penstock/client"
)

const testRuns = `[
 {"id":"run_01M84PXX4REJMB9X8546PCY0G7","state":"finished","cause":"memory_limit","message":"memory limit of 256 MiB reached\n(peak)","client":"ci","backend":"demo","model":"demo",
  "created_at":"2026-01-02T03:00:00Z","started_at":"2026-01-02T03:00:01Z","ended_at":"2026-01-02T03:02:13Z","limits":{"memory":{"limit":268435456},"pids":{"limit":64}},
  "receipt":{"memory_peak_bytes":268435456,"pids_peak":7,"cpu_user_usec":1500000,"cpu_system_usec":500000}},
 {"id":"night\u001b[2J日本","state":"queued","client":"uid:1000","backend":"claude","model":"claude/opus","created_at":"2026-01-02T03:04:00Z","queue":{"for":"slot","position":3}},
 {"id":"run_01M84PXX4REJMB9X8546PCY0G8","state":"queued","client":"ci","backend":"demo","model":"demo","created_at":"2026-01-02T03:03:59Z","queue":{"for":"session"}},
 {"id":"run_01M84PXX4REJMB9X8546PCY0G9","state":"running","client":"日本語","backend":"demo","model":"demo","created_at":"2026-01-02T03:04:00Z","started_at":"2026-01-02T03:04:04Z",
  "limits":{"memory":{"limit":268435456},"pids":{"limit":64},"cpu":{"quota":150000,"period":100000}},"usage":{"memory_bytes":134217728,"pids":60,"cpu_cores":1.12}},
 {"id":"run_01M84PXX4REJMB9X8546PCY0GA","state":"running","client":"ci","backend":"demo","model":"demo","created_at":"2026-01-02T03:00:00Z","started_at":"2026-01-02T03:00:05Z",
  "limits":{"pids":{"limit":64}},"usage":{"stalled":true,"memory_bytes":1073741824}}
]`

func testRows(t *testing.T) []Row {
	t.Helper()
	var runs []client.Run
	if err := json.Unmarshal([]byte(testRuns), &runs); err != nil {
		t.Fatal(err)
	}
	return Rows(runs, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC))
}

func TestTable(t *testing.T) {
	for columns, want := range map[int]string{
		150: `
RUN            CLIENT    MODEL        STATE            TIME  MEMORY            PIDS          CPU             WHY
46PCY0GA       ci        demo         stalled         4m00s         1G                -/64          -
46PCY0G9       日本語    demo         busy               1s  ███░░░ 128M/256M  ██████ 60/64  ████░░ 1.1/1.5
46PCY0G8       ci        demo         queued:session     6s         -                 -             -
night�[2J日本  uid:1000  claude/opus  queued#3           5s         -                 -             -
46PCY0G7       ci        demo         memory_limit    2m12s  ██████ 256M/256M  █░░░░░ 7/64          2.0s     memory limit of 256 MiB reached (peak)
`,
		80: `
RUN       CLIENT  MODEL       STATE            TIME  MEMORY     PIDS   CPU
46PCY0GA  ci      demo        stalled         4m00s  1G         -/64   -
46PCY0G9  日本語  demo        busy               1s  128M/256M  60/64  1.1/1.5
46PCY0G8  ci      demo        queued:session     6s  -          -      -
night�[…  uid:1…  claude/op…  queued#3           5s  -          -      -
46PCY0G7  ci      demo        memory_limit    2m12s  256M/256M  7/64   2.0s
`,
		40: `
RUN       STATE            TIME  MEMORY
46PCY0GA  stalled         4m00s  1G
46PCY0G9  busy               1s  128M/256M
46PCY0G8  queued:session     6s  -
night�[…  queued#3           5s  -
46PCY0G7  memory_limit    2m12s  256M/256M
`,
	} {
		got := "\n" + Terminal{terminal: true, unicode: true}.Table(testRows(t), columns)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d columns (-want +got):\n%s", columns, diff)
		}
	}
}

// No line is ever wider than the terminal, and colours take no room.
func TestTable_Fits(t *testing.T) {
	plain, coloured := Terminal{terminal: true}, Terminal{terminal: true, colour: true}
	h := client.Health{Status: "wedged", Version: "v1", Degraded: []string{strings.Repeat("long ", 50)}}
	for columns := 44; columns < 200; columns++ {
		text := plain.Summary(h, columns) + plain.Table(testRows(t), columns)
		for line := range strings.Lines(text) {
			if n := width(strings.TrimSuffix(line, "\n")); n > columns {
				t.Fatalf("%d columns in %d: %s", n, columns, line)
			}
		}
		painted := coloured.Summary(h, columns) + coloured.Table(testRows(t), columns)
		for _, code := range []string{Bold, Dim, Red, Green, Yellow, "0"} {
			painted = strings.ReplaceAll(painted, "\x1b["+code+"m", "")
		}
		if diff := cmp.Diff(text, painted); diff != "" {
			t.Fatalf("%d columns, with colours (-without +with):\n%s", columns, diff)
		}
	}
}

func TestPlainTable(t *testing.T) {
	want := `
RUN                             CLIENT    MODEL        STATE           TIME   MEMORY  MEMORY_MAX  PIDS  PIDS_MAX  CPU  CPU_MAX
run_01M84PXX4REJMB9X8546PCY0GA  ci        demo         stalled         4m00s  1G      -           -     64        -    -
run_01M84PXX4REJMB9X8546PCY0G9  日本語       demo         busy            1s     128M    256M        60    64        1.1  1.5
run_01M84PXX4REJMB9X8546PCY0G8  ci        demo         queued:session  6s     -       -           -     -         -    -
night�[2J日本                     uid:1000  claude/opus  queued#3        5s     -       -           -     -         -    -
run_01M84PXX4REJMB9X8546PCY0G7  ci        demo         memory_limit    2m12s  256M    256M        7     64        2.0  -
`
	if diff := cmp.Diff(want, "\n"+PlainTable(testRows(t))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{-time.Second: "0s", 20 * time.Millisecond: "20ms", 59 * time.Second: "59s", 192 * time.Second: "3m12s", 5*time.Hour + 7*time.Minute: "5h07m", 292 * time.Hour: "12d4h"} {
		if got := Age(d); got != want {
			t.Errorf("age %s: %s, want %s", d, got, want)
		}
	}
	if got := Sanitize("a\x1b]0;x\x07\u202eb\n\xff", "\n"); got != "a�]0;x��b\n�" {
		t.Errorf("Sanitize: %q", got)
	}
}
