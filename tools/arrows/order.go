package main

import "slices"

// order is the files from the bottom up with the fewest arrows that run back up,
// and how many these are. Only files that use each other in a circle have any: each
// circle (strongly connected component) is ordered by itself.
func (g *graph) order() (files []int, up int) {
	for _, circle := range g.components() {
		circle = g.improve(circle)
		up += g.up(circle)
		files = append(files, circle...)
	}
	return files, up
}

// up counts the arrows of an order that run from a lower file to a higher one.
func (g *graph) up(order []int) (n int) {
	for at, file := range order {
		for _, above := range order[at+1:] {
			n += len(g.uses[file][above])
		}
	}
	return n
}

// improve moves single files to where they cost least until no move helps, from
// several orders to begin with: the smallest number of arrows up can't be computed
// in reasonable time for a large circle, and this comes close.
func (g *graph) improve(circle []int) []int {
	slices.Sort(circle)
	best := slices.Clone(circle)
	least := g.up(best)
	for start := range circle {
		order := slices.Concat(circle[start:], circle[:start])
		if start%2 == 1 {
			slices.Reverse(order)
		}
		for g.sift(order) {
		}
		if n := g.up(order); n < least {
			best, least = order, n
		}
	}
	return best
}

// sift gives each file in turn its best place among the others.
func (g *graph) sift(order []int) (better bool) {
	for _, file := range slices.Clone(order) {
		from := slices.Index(order, file)
		rest := slices.Delete(slices.Clone(order), from, from+1)
		cost, costs := 0, make([]int, len(rest)+1) // at each place, beside what the rest costs
		for _, above := range rest {
			cost += len(g.uses[file][above])
		}
		costs[0] = cost
		for at, below := range rest {
			cost += len(g.uses[below][file]) - len(g.uses[file][below])
			costs[at+1] = cost
		}
		to := from
		for at, c := range costs {
			if c < costs[to] {
				to = at
			}
		}
		if to != from {
			better = true
			copy(order, slices.Insert(rest, to, file))
		}
	}
	return better
}

// components are the circles of files, those that are used before their users
// (Tarjan's algorithm gives them so).
func (g *graph) components() (all [][]int) {
	n := len(g.files)
	seen, low := make([]int, n), make([]int, n) // seen is from 1; 0 is not yet
	on := make([]bool, n)
	var stack []int
	count := 0
	var visit func(v int)
	visit = func(v int) {
		count++
		seen[v], low[v] = count, count
		stack, on[v] = append(stack, v), true
		for w := range n {
			switch {
			case len(g.uses[v][w]) == 0:
			case seen[w] == 0:
				visit(w)
				low[v] = min(low[v], low[w])
			case on[w]:
				low[v] = min(low[v], seen[w])
			}
		}
		if low[v] != seen[v] {
			return
		}
		at := slices.Index(stack, v)
		all = append(all, slices.Clone(stack[at:]))
		for _, w := range stack[at:] {
			on[w] = false
		}
		stack = stack[:at]
	}
	for v := range n {
		if seen[v] == 0 {
			visit(v)
		}
	}
	return all
}
