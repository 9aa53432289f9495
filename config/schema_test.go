package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The handbook's tables have every key, with its default.
func TestKeys_Documented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range AllKeys() {
		if strings.HasPrefix(k.Name, "backends.*.limits.") {
			continue // the keys of limits once more
		}
		name := strings.ReplaceAll(strings.TrimSuffix(k.Name, ".*"), wildcard, "<name>")
		name = "`" + strings.TrimPrefix(name, "backends.<name>.") + "`"
		found, withDefault := false, k.Default == "" || k.Default == theDefault
		for line := range strings.Lines(string(text)) {
			if !strings.HasPrefix(line, "| `") || !strings.Contains(line, name) {
				continue
			}
			found = true
			withDefault = withDefault || strings.Contains(line, "`"+k.Literal(k.Default)+"`")
		}
		if !found || !withDefault {
			t.Errorf("%s: row found %v, with its default %s %v", name, found, k.Literal(k.Default), withDefault)
		}
	}
}

// The help of kind is a literal, as all tags are.
func TestKeys_KindsInHelp(t *testing.T) {
	k, _ := schema(AllKeys()).at([]string{"backends", "x", "kind"})
	if want := "which adapter: " + strings.Join(Kinds(), " "); k.Help != want {
		t.Errorf("%q, want %q", k.Help, want)
	}
}

// Every default is a value of its key.
func TestKeys_DefaultsDecode(t *testing.T) {
	for _, k := range AllKeys() {
		if k.Help == "" {
			t.Errorf("%s has no help", k.Name)
		}
		if k.Default == "" {
			continue
		}
		if _, err := k.decode(k.Literal(k.Default)); err != nil {
			t.Errorf("%s: %v", k.Name, err)
		}
	}
}
