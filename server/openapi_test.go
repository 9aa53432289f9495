package server

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"penstock/internal/openapitest"
	"penstock/server/openapi"
)

var theDocument = sync.OnceValues(openapitest.New)

// documented is a client to which everything undocumented is a failed test.
func documented(t *testing.T, base http.RoundTripper) *http.Client {
	t.Helper()
	d, err := theDocument()
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: d.Transport(base, func(err error) { t.Error(err) })}
}

func TestDocument_Routes(t *testing.T) {
	d, err := theDocument()
	if err != nil {
		t.Fatal(err)
	}
	var served, written []string
	for _, rt := range (&daemon{}).routes() {
		served = append(served, rt.Method+" "+pathTemplate(rt.Path))
	}
	for _, op := range d.Operations() {
		written = append(written, op.Method+" "+op.Path)
	}
	slices.Sort(served)
	slices.Sort(written)
	if diff := cmp.Diff(served, written); diff != "" {
		t.Errorf("routes (-served +written in openapi.json)\n%s", diff)
	}
	if err := d.Check(); err != nil {
		t.Error(err)
	}
}

// Each word that the code can send is in the document, and no other.
func TestDocument_Codes(t *testing.T) {
	causes := constants(t, "../outcome", "Cause")
	reasons := constants(t, "../admit", "Reason")
	codes := append(constants(t, "web", "Code"), reasons...)
	for _, c := range causes {
		if c != "completed" {
			codes = append(codes, c)
		}
	}
	filters := append(constants(t, "../run/store", "State"), constants(t, ".", "State")...)
	states := slices.DeleteFunc(slices.Clone(filters), func(s string) bool { return s == string(stateLive) })
	for schema, want := range map[string][]string{"Cause": causes, "ErrorCode": codes, "RunState": states, "RunFilter": filters} {
		if diff := cmp.Diff(sortedSet(want), sortedSet(enum(t, schema))); diff != "" {
			t.Errorf("%s (-code +openapi.json)\n%s", schema, diff)
		}
	}
	d, err := theDocument()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sortedSet(enum(t, "ErrorCode")), sortedSet(d.ReplyCodes())); diff != "" {
		t.Errorf("codes (-ErrorCode +those of all replies)\n%s", diff)
	}
}

func sortedSet(words []string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return slices.Compact(words)
}

func enum(t *testing.T, schema string) []string {
	t.Helper()
	var doc struct {
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(openapi.Document(), &doc); err != nil {
		t.Fatal(err)
	}
	var one struct{ Enum []string }
	if err := json.Unmarshal(doc.Components.Schemas[schema], &one); err != nil || len(one.Enum) == 0 {
		t.Fatalf("schema %s has no words: %v", schema, err)
	}
	return one.Enum
}

// constants are the values of all constants of a string type.
func constants(t *testing.T, dir, typeName string) (out []string) {
	t.Helper()
	each(t, dir, func(n ast.Node) {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || spec.Type == nil || len(spec.Values) == 0 {
			return
		}
		name := ""
		switch typ := spec.Type.(type) {
		case *ast.Ident:
			name = typ.Name
		case *ast.SelectorExpr:
			name = typ.Sel.Name
		}
		if word, ok := literal(spec.Values[0]); ok && name == typeName {
			out = append(out, word)
		}
	})
	if len(out) == 0 {
		t.Fatalf("%s has no constants of type %s", dir, typeName)
	}
	return out
}

func literal(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	word, err := strconv.Unquote(lit.Value)
	return word, err == nil
}

// each visits the shipped source of a package.
func each(t *testing.T, dir string, visit func(ast.Node)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if n != nil {
				visit(n)
			}
			return true
		})
	}
}

func TestDocument_Served(t *testing.T) {
	s := serve(t, nil)
	r := s.ask("GET", "/openapi.json", "")
	if r.status != 200 || r.body != string(openapi.Document()) {
		t.Errorf("%d, %d bytes", r.status, len(r.body))
	}
}
