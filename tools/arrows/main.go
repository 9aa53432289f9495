// Command arrows counts how the files of one package refer to each other.
//
//	go run ./tools/arrows [-v] [-max n] dir ...
//
// An arrow is a file of the package and a name (of the package, a field or a
// method) that it uses and another file of the package declares; a name used ten
// times in one file is one arrow. Read from the bottom up, a file should use only
// names of files below it. The files are put into the order with which the fewest
// arrows run back up, from a lower file to a name of a higher one: that number is
// printed, and is 0 exactly where no files of the package use each other in a
// circle. With more than -max of them in any directory the exit status is 1.
//
// Test files don't count: they may look into everything.
//
//	load.go   a directory -> its arrows      order.go   arrows -> the best order
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"
)

func main() {
	verbose := flag.Bool("v", false, "print the order of the files, lowest first, and each arrow that runs up")
	limit := flag.Int("max", -1, "arrows up that a directory may have; -1 is any number")
	flag.Parse()
	ok := true
	for _, dir := range flag.Args() {
		g, err := load(dir)
		if err != nil {
			fmt.Fprintf(os.Stderr, "arrows: %s: %v\n", dir, err)
			os.Exit(2)
		}
		order, up := g.order()
		fmt.Printf("%s: %d files, %d arrows, %d run back up\n", dir, len(g.files), g.total(), up)
		if *verbose {
			g.print(order)
		}
		ok = ok && (*limit < 0 || up <= *limit)
	}
	if !ok {
		os.Exit(1)
	}
}

// print lists the files, lowest first, with what each uses of those above it.
func (g *graph) print(order []int) {
	place := make([]int, len(order))
	for at, file := range order {
		place[file] = at
	}
	for at, file := range order {
		fmt.Printf("%3d %s\n", at+1, g.files[file])
		for above, names := range g.uses[file] {
			if place[above] > at {
				fmt.Printf("      up to %s: %s\n", g.files[above], strings.Join(names, " "))
			}
		}
	}
}
