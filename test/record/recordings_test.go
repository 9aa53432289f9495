package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// In the recordings of CLIs with images the model says what it saw: the very bytes.
func TestRecordings_ImagesArriveUnchanged(t *testing.T) {
	want := "sees:"
	for _, data := range squares() {
		want += fmt.Sprintf(" %x", sha256.Sum256(data))
	}
	files, err := filepath.Glob("../../backend/testdata/*/images.jsonl")
	if err != nil || len(files) < 2 {
		t.Fatalf("recordings %v, %v", files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), want) {
			t.Errorf("%s lacks %q", file, want)
		}
	}
}
