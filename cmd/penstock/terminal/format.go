package terminal

import (
	"fmt"
	"strconv"
	"time"

	"penstock/internal/bytesize"
)

// Age is a time in at most six columns: 850ms, 42s, 3m12s, 5h07m, 12d4h.
func Age(d time.Duration) string {
	switch s := int(d.Seconds()); {
	case d < 0:
		return "0s"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%02dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd%dh", s/86400, s/3600%24)
	}
}

// seconds has one decimal from one to ten.
func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	if d < 10*time.Second {
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return Age(d)
}

// of is "used/most"; what is unknown is a dash.
func of(used, most string) string {
	if most == "-" {
		return used
	}
	return used + "/" + most
}

func size(n *float64) string {
	if n == nil {
		return "-"
	}
	return bytesize.Short(*n)
}

func whole(n *float64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatFloat(*n, 'f', 0, 64)
}

func cores(n *float64) string {
	if n == nil {
		return "-"
	}
	return strconv.FormatFloat(*n, 'f', 1, 64)
}

// Count is a number of things, by their name for one and for any other number.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
