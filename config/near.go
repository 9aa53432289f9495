package config

import (
	"fmt"
	"slices"
)

// didYouMean names the candidate nearest to word, or is "" when none is near.
func didYouMean(word string, candidates []string) string {
	best, found := len(word)/3+2, ""
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if d := distance(word, c); d < best {
			best, found = d, c
		}
	}
	if found == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %s?", found)
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := diagonal
			if a[i-1] != b[j-1] {
				cost++
			}
			diagonal = row[j]
			row[j] = min(cost, row[j]+1, row[j-1]+1)
		}
	}
	return row[len(b)]
}
