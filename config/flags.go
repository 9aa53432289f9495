package config

import (
	"maps"
	"slices"
)

// flags takes dotted keys from the command line.
func (l *layers) flags(given map[string]string) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		at := origin{file: "flags", name: key}
		f, captured, known := l.schema.dotted(key)
		if !known {
			var all []string
			for _, f := range l.schema {
				all = append(all, f.key)
			}
			l.problem(at, "", faultf(didYouMean(key, all), "unknown key"))
			continue
		}
		got, err := f.fromText(given[key], l.whole())
		l.put(fill(f.key, captured), got, err, at)
	}
}
