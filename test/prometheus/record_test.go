package prometheus

import (
	"context"
	"encoding/json"
	"os"
	"testing"
	"time"
)

// record writes what every panel shows to $PENSTOCK_PANELS, for `draw`; the load
// goes on for $PENSTOCK_WINDOW before.
func record(t *testing.T, s *server, instance string, from time.Time) {
	t.Helper()
	file := os.Getenv("PENSTOCK_PANELS")
	if file == "" {
		return
	}
	if window, err := time.ParseDuration(os.Getenv("PENSTOCK_WINDOW")); err == nil {
		pause(context.Background(), time.Until(from.Add(window)))
	}
	to := time.Now()
	step := max(scrapeInterval(), to.Sub(from)/100).Round(scrapeInterval())
	all := pages(t)
	for i := range all {
		values, err := all[i].chosen(s, instance)
		if err != nil {
			t.Fatal(err)
		}
		for j := range all[i].Panels {
			p := &all[i].Panels[j]
			for _, q := range p.Targets {
				found, err := s.over(windowed(filled(q.Expr, values), from, to, step), from, to, step)
				if err != nil {
					t.Fatal(err)
				}
				for _, one := range found {
					p.Shown = append(p.Shown, shown{one.name(q.LegendFormat), one.Labels, one.Points})
				}
			}
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	write(t, file, string(text))
}
