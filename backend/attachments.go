package backend

import (
	"fmt"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Where in a run's directory its documents lie, and its images for a CLI that reads them
// by path.
const (
	DocumentDir = "in"
	ImageDir    = "images"
)

// Images are the attachments that go to the model as pictures.
func (r Request) Images() []Attachment {
	var images []Attachment
	for _, a := range r.Attachments {
		if a.IsImage() {
			images = append(images, a)
		}
	}
	return images
}

// Told is the request without what its CLI has been told, which would be as long in memory as
// the machine is.
func (r Request) Told() Request {
	r.System, r.Prompt, r.Attachments = "", "", nil
	return r
}

// ImageFiles are the images as files of the run's directory.
func (r Request) ImageFiles() []File {
	var files []File
	for i, a := range r.Images() {
		name := fmt.Sprintf("%d.%s", i+1, plainName(strings.TrimPrefix(a.Type, "image/")))
		files = append(files, File{Name: path.Join(ImageDir, name), Data: a.Data})
	}
	return files
}

// Documents are the attachments that the CLI's own tools read, as files of the run's
// directory, and the words that tell the model of them, to stand after the prompt. Both
// are empty where there are none.
func (r Request) Documents() (files []File, words string) {
	taken := map[string]bool{}
	var list strings.Builder
	for _, a := range r.Attachments {
		if a.IsImage() {
			continue
		}
		name := uniqueName(plainName(a.Name), taken)
		files = append(files, File{Name: path.Join(DocumentDir, name), Data: a.Data})
		fmt.Fprintf(&list, "\n- %s", path.Join(r.Dir, DocumentDir, name))
		if name != a.Name {
			fmt.Fprintf(&list, " (named %q)", a.Name)
		}
	}
	if files == nil {
		return nil, ""
	}
	return files, "\n\nFiles that come with this message, to be read where they are:" + list.String()
}

// nameMax bounds a document's name, in bytes.
const nameMax = 100

// plainName is a name that no shell, tool or CLI takes for anything but a name: letters,
// digits and "._-", with a letter or digit first.
func plainName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-", r)) {
			return r
		}
		return '_'
	}, name)
	name = strings.TrimLeft(name, "._-")
	if name == "" {
		return "file"
	}
	ext := path.Ext(name)
	if len(ext) > nameMax/4 {
		ext = ""
	}
	return cutName(strings.TrimSuffix(name, ext), nameMax-len(ext)) + ext
}

// cutName is at most max bytes of name, whole code points.
func cutName(name string, max int) string {
	if len(name) <= max {
		return name
	}
	for max > 0 && !utf8.RuneStart(name[max]) {
		max--
	}
	return name[:max]
}

// uniqueName numbers a name that is taken, also where file systems don't know the case.
func uniqueName(name string, taken map[string]bool) string {
	ext := path.Ext(name)
	unique := name
	for n := 2; taken[strings.ToLower(unique)]; n++ {
		unique = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(name, ext), n, ext)
	}
	taken[strings.ToLower(unique)] = true
	return unique
}
