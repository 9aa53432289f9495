package cgroup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Huge pages are outside of memory limits: where the kernel can hold them, runs get none.
func TestTree_NoHugePages(t *testing.T) {
	r := openRoot(t)
	files, err := filepath.Glob(r.Path() + "/runs/hugetlb.*.max")
	if err != nil {
		t.Fatal(err)
	}
	var held int
	for _, file := range files {
		if strings.HasSuffix(file, ".rsvd.max") {
			continue
		}
		held++
		if b, err := os.ReadFile(file); err != nil || strings.TrimSpace(string(b)) != "0" {
			t.Errorf("%s: %q, %v", filepath.Base(file), b, err)
		}
	}
	if held == 0 {
		t.Skip("this machine's cgroup v2 has no hugetlb controller")
	}
}
