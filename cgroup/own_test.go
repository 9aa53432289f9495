package cgroup

import (
	"os"
	"path/filepath"
	"testing"
)

func TestMemoryMaxAbove(t *testing.T) {
	top := t.TempDir()
	leaf := filepath.Join(top, "a", "b")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		t.Fatal(err)
	}
	if n, ok := memoryMaxAbove(leaf, top); ok {
		t.Errorf("without any limit: %d", n)
	}
	for _, step := range []struct {
		dir, value string
		want       int64
		ok         bool
	}{
		{leaf, "max\n", 0, false},
		{filepath.Dir(leaf), "4096000\n", 4096000, true},
		{top, "8192000\n", 4096000, true},
		{leaf, "40960\n", 40960, true},
	} {
		if err := os.WriteFile(step.dir+"/memory.max", []byte(step.value), 0o600); err != nil {
			t.Fatal(err)
		}
		n, ok := memoryMaxAbove(leaf, top)
		if ok != step.ok || (ok && n != step.want) {
			t.Errorf("after %s in %s: %d, %v, want %d, %v", step.value, step.dir, n, ok, step.want, step.ok)
		}
	}
}

func TestOwnMemoryMax(t *testing.T) {
	r := kernelRoot(t)
	if err := os.WriteFile(r.Path()+"/daemon/memory.max", []byte("536870912"), 0); err != nil {
		t.Fatal(err)
	}
	if n, ok := OwnMemoryMax(); n != 512<<20 || !ok {
		t.Errorf("%d, %v, want 512 MiB", n, ok)
	}
}
