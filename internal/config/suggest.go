package config

import (
	"cmp"
	"slices"
	"strings"
)

// suggest ends an error message with the names that name was probably meant to be: those within a
// third of its length in edits, nearest first, at most three. When none is near and there are few
// names, it lists them all.
func suggest(name string, allowed []string) string {
	type candidate struct {
		name  string
		edits int
	}
	var near []candidate
	for _, a := range allowed {
		if n := distance(name, a); n <= max(2, len(name)/3) {
			near = append(near, candidate{a, n})
		}
	}
	slices.SortStableFunc(near, func(a, b candidate) int { return cmp.Compare(a.edits, b.edits) })
	if len(near) == 0 {
		const few = 12
		if len(allowed) == 0 || len(allowed) > few {
			return ""
		}
		return ", want one of " + strings.Join(allowed, ", ")
	}
	names := make([]string, 0, 3)
	for _, c := range near[:min(3, len(near))] {
		if c.edits <= 2*near[0].edits { // else the nearest is clearly it
			names = append(names, c.name)
		}
	}
	return ", did you mean " + strings.Join(names, " or ") + "?"
}

// distance is the least number of bytes to insert, delete or replace that turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
