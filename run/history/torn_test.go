package history

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// some is a directory with the index of n runs, each with a line of about 700 bytes.
func some(t testing.TB, n int) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "history")
	x, report := opened(t, dir)
	if !report.Fresh {
		t.Errorf("%+v of no index", report)
	}
	for i := range n {
		if err := x.Finish(end(i, "c"), []byte(strings.Repeat("x", 640)+strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	x.Close()
	return dir
}

// whole wants each run that is left to be as it was, and gives how many are.
func whole(t testing.TB, x *Index) (n int) {
	t.Helper()
	for _, e := range x.Newest("", 0) {
		got, data, err := x.Get(e.ID)
		if err != nil || got.ID != e.ID || got.Client != "c" || !strings.HasSuffix("run"+string(data[640:]), strings.TrimPrefix(e.ID, "run-")) {
			t.Fatalf("%s: %+v, %v", e.ID, got, err)
		}
		n++
	}
	return n
}

// A log that ends anywhere, as after a power cut, is what it has until there; and one in
// which a page is nothing is all but the lines on that page. Each loss is told of once.
func TestOpen_Torn(t *testing.T) {
	const runs, page = 60, 4096
	dir := some(t, runs)
	path := pathOf(dir, 1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(text); at += page {
		for name, torn := range map[string][]byte{
			"cut":   text[:at],
			"empty": append(append(append([]byte{}, text[:at]...), make([]byte, min(page, len(text)-at))...), text[min(at+page, len(text)):]...),
		} {
			if err := os.WriteFile(path, torn, 0o600); err != nil {
				t.Fatal(err)
			}
			x, report := opened(t, dir)
			n := whole(t, x)
			lost := page/600 + 3
			if name == "cut" {
				lost = (len(text)-at)/600 + 2
			}
			if n < runs-lost || name == "empty" && n == runs && at+page < len(text) {
				t.Errorf("%s at %d: %d of %d left, %+v", name, at, n, runs, report)
			}
			finish(t, x, end(1000, "c")) // and it goes on
			x.Close()
			x, report = opened(t, dir)
			if got, _ := x.Runs(); got != n+1 || report.Damaged != 0 {
				t.Errorf("%s at %d: at the next start %d of %d, %+v", name, at, got, n+1, report)
			}
			x.Close()
		}
	}
}

// No byte that is another one than it was makes a run another one, a panic or a long wait.
func TestOpen_FlippedBytes(t *testing.T) {
	const runs = 40
	dir := some(t, runs)
	path := pathOf(dir, 1)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 150 {
		torn := append([]byte{}, text...)
		flips := 1 + rand.IntN(4)
		for range flips {
			torn[rand.IntN(len(torn))] = byte(rand.IntN(256))
		}
		if err := os.WriteFile(path, torn, 0o600); err != nil {
			t.Fatal(err)
		}
		x, report := opened(t, dir)
		if n := whole(t, x); n < runs-2*flips || n < runs && report.Damaged == 0 {
			t.Errorf("%d of %d left after %d flips, %+v", n, runs, flips, report)
		}
		x.Close()
	}
}

func FuzzOpen(f *testing.F) {
	dir := some(f, 3)
	text, err := os.ReadFile(pathOf(dir, 1))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(pathOf(dir, 1), text, 0o600); err != nil {
			t.Fatal(err)
		}
		x, _ := opened(t, dir)
		for _, e := range x.Newest("", 0) {
			if _, _, err := x.Get(e.ID); err != nil {
				t.Error(err)
			}
		}
		finish(t, x, end(1000, "c"))
	})
}

// An index of a later version is set aside whole, and only the last of them.
func TestOpen_LaterVersion(t *testing.T) {
	for range 2 {
		dir := some(t, 3)
		later := appendLine(nil, func(b []byte) []byte { return append(b, header+"2"...) })
		if err := os.WriteFile(pathOf(dir, 2), later, 0o600); err != nil {
			t.Fatal(err)
		}
		x, report := opened(t, dir)
		if n, _ := x.Runs(); n != 0 || report.SetAside != dir+asideSuffix || !report.Fresh {
			t.Errorf("%d runs, %+v", n, report)
		}
		if got, err := os.ReadFile(pathOf(report.SetAside, 2)); err != nil || string(got) != string(later) {
			t.Errorf("set aside: %q, %v", got, err)
		}
	}
}

// What isn't a file of the index's own is left alone, and holds nothing up.
func TestOpen_ForeignInTheDirectory(t *testing.T) {
	dir := some(t, 2)
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "notes"), []byte("x"), 0o600), os.WriteFile(filepath.Join(dir, "2.log"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	x, report := opened(t, dir)
	if n, _ := x.Runs(); n != 2 || report.Damaged != 0 {
		t.Errorf("%d runs, %+v", n, report)
	}
}

// A writer that is killed at any moment leaves all that it has told of.
func TestIndex_KilledAtAnyMoment(t *testing.T) {
	if os.Getenv("HISTORY_WRITER") != "" {
		write(os.Getenv("HISTORY_WRITER"))
	}
	rounds := 50
	if n, err := strconv.Atoi(os.Getenv("HISTORY_KILLS")); err == nil {
		rounds = n
	}
	dir := filepath.Join(t.TempDir(), "history")
	told := map[string]bool{}
	for round := range rounds {
		killed(t, dir, round, told)
		x, report := opened(t, dir)
		if report.Damaged != 0 {
			t.Errorf("round %d: %+v", round, report)
		}
		for id, is := range told {
			if x.Has(id) != is {
				t.Fatalf("round %d: %s: known is %v, told was %v", round, id, x.Has(id), is)
			}
			if !is {
				delete(told, id)
			}
		}
		x.Close()
	}
}

// write is the process that is killed: it ends runs and removes older ones, and tells of
// each when it is done.
func write(dir string) {
	x, _, err := Open(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	round, _ := strconv.Atoi(os.Getenv("HISTORY_ROUND"))
	data := []byte(strings.Repeat("x", 3000))
	for i := 0; ; i++ {
		e := end(0, "c")
		e.ID, e.Ended = fmt.Sprintf("r-%d-%d", round, i), time.Now()
		if x.Begin(e.ID, data[:300]) != nil || x.Finish(e, data) != nil {
			os.Exit(1)
		}
		fmt.Println("+" + e.ID)
		if i%7 == 6 {
			for _, old := range oldest(x, 6) {
				fmt.Println("?" + old)
				if x.Remove(old) != nil || rand.IntN(100) == 0 && x.Clean() != nil {
					os.Exit(1)
				}
				fmt.Println("-" + old)
			}
		}
	}
}

func oldest(x *Index, n int) (out []string) {
	x.Oldest(func(e Entry) bool {
		out = append(out, e.ID)
		return len(out) < n
	})
	return out
}

func killed(t *testing.T, dir string, round int, told map[string]bool) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestIndex_KilledAtAnyMoment$")
	c.Env = append(os.Environ(), "HISTORY_WRITER="+dir, fmt.Sprint("HISTORY_ROUND=", round))
	out, err := c.StdoutPipe()
	if err == nil {
		err = c.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	after := 1 + rand.IntN(100) // lines, and then some microseconds
	lines := bufio.NewReader(out)
	for n := 0; ; n++ {
		if n == after {
			time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
		text, err := lines.ReadString('\n')
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch id := strings.TrimSpace(text[1:]); text[0] {
		case '+':
			told[id] = true
		case '-':
			told[id] = false
		default:
			delete(told, id) // it may be either
		}
	}
	_ = c.Wait()
}
