package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// graph is which names each file of a package uses of the other files.
type graph struct {
	files []string
	uses  []map[int][]string // by the using file: the declaring file's names, sorted
}

func (g *graph) total() (n int) {
	for _, of := range g.uses {
		for _, names := range of {
			n += len(names)
		}
	}
	return n
}

// listed is what go list tells of one package.
type listed struct {
	Dir, ImportPath, Export string
	GoFiles                 []string
	DepOnly                 bool
}

// load type-checks the package in dir against the build cache.
func load(dir string) (*graph, error) {
	target, exports, err := list(dir)
	if err != nil {
		return nil, err
	}
	fset := token.NewFileSet()
	g := &graph{files: target.GoFiles, uses: make([]map[int][]string, len(target.GoFiles))}
	index := map[string]int{}
	var parsed []*ast.File
	for i, name := range target.GoFiles {
		path := filepath.Join(target.Dir, name)
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, f)
		index[path], g.uses[i] = i, map[int][]string{}
	}
	conf := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		file, ok := exports[path]
		if !ok {
			return nil, fmt.Errorf("%s: no export data", path)
		}
		return os.Open(file)
	})}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := conf.Check(target.ImportPath, fset, parsed, info)
	if err != nil {
		return nil, err
	}
	for id, used := range info.Uses {
		g.add(index, fset, pkg, id, used)
	}
	for _, of := range g.uses {
		for file := range of {
			slices.Sort(of[file])
			of[file] = slices.Compact(of[file])
		}
	}
	return g, nil
}

// add notes that id uses a name, where another file of the package declares it.
func (g *graph) add(index map[string]int, fset *token.FileSet, pkg *types.Package, id *ast.Ident, used types.Object) {
	if used.Pkg() != pkg {
		return
	}
	from, ok := index[fset.Position(id.Pos()).Filename]
	to, declared := index[fset.Position(used.Pos()).Filename]
	if ok && declared && from != to {
		name := used.Name()
		if f, method := used.(*types.Func); method && f.Signature().Recv() != nil {
			name = f.FullName()
		}
		g.uses[from][to] = append(g.uses[from][to], name)
	}
}

// list asks the go command for the package in dir, and where the export data lies
// of all that it imports.
func list(dir string) (target listed, exports map[string]string, err error) {
	cmd := exec.Command("go", "list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles,DepOnly", ".")
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return target, nil, fmt.Errorf("go list: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	exports = map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var one listed
		if err := dec.Decode(&one); errors.Is(err, io.EOF) {
			return target, exports, nil
		} else if err != nil {
			return target, nil, fmt.Errorf("go list: %w", err)
		}
		exports[one.ImportPath] = one.Export
		if !one.DepOnly {
			target = one
		}
	}
}
