package backend

import (
	"slices"
	"strings"
	"testing"
)

func TestRequest_Documents(t *testing.T) {
	file := func(name string) Attachment { return Attachment{Name: name, Type: "text/plain", Data: []byte(name)} }
	r := Request{Dir: "/run/dir", Attachments: []Attachment{
		file("report.pdf"), {Name: "a.png", Type: "image/png"}, file("report.pdf"), file("REPORT.pdf"),
		file("../../etc/pass wd"), file("-rf"), file(".."), file(""), file("übersicht.md"), file("a\n@b\x00$(c)`d`.txt"),
		file(strings.Repeat("é", 80) + ".txt"), file("x." + strings.Repeat("y", 200)), file("\xff\u202e.txt"),
	}}
	files, words := r.Documents()
	var names []string
	for _, f := range files {
		names = append(names, f.Name)
		if !strings.Contains(words, "\n- /run/dir/"+f.Name) {
			t.Errorf("the prompt does not name %q", f.Name)
		}
	}
	want := []string{
		"in/report.pdf", "in/report-2.pdf", "in/REPORT-3.pdf", "in/etc_pass_wd", "in/rf", "in/file", "in/file-2", "in/übersicht.md",
		"in/a__b___c__d_.txt", "in/" + strings.Repeat("é", 48) + ".txt", "in/x." + strings.Repeat("y", 98), "in/txt",
	}
	for i := range want {
		if i >= len(names) || names[i] != want[i] {
			t.Errorf("document %d is %q, want %q", i, names[min(i, len(names)-1)], want[i])
		}
	}
	if !strings.Contains(words, `/run/dir/in/etc_pass_wd (named "../../etc/pass wd")`) || strings.Contains(words, "a.png") {
		t.Errorf("the prompt is told %q", words)
	}
	if images := r.Images(); len(images) != 1 || images[0].Name != "a.png" {
		t.Errorf("images %+v", images)
	}
	if files, words := (Request{Attachments: r.Attachments[1:2]}).Documents(); files != nil || words != "" {
		t.Errorf("without documents: %v %q", files, words)
	}
	if !slices.Equal(files[1].Data, []byte("report.pdf")) {
		t.Errorf("the second document holds %q", files[1].Data)
	}
}
