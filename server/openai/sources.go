package openai

import (
	"penstock/server/media"
	"penstock/server/web"
)

// imageSource is the image of a part. A chat has its URL in an object, a response as it is.
func imageSource(f web.Fields, where string) (media.Source, error) {
	const member = "image_url"
	s := media.Source{Kind: media.Image, Where: web.JoinField(where, member), Data: f[member]}
	if web.KindOf(s.Data) == '{' {
		image, err := web.ParseObject(s.Data, s.Where)
		if err != nil {
			return s, err
		}
		s.Where, s.Data = web.JoinField(s.Where, "url"), image["url"]
	}
	return s, sendable(f, s, where)
}

// chatFileSource is the file of a chat's part, which has it in an object.
func chatFileSource(f web.Fields, where string) (media.Source, error) {
	where = web.JoinField(where, "file")
	file, err := web.ParseObject(f["file"], where)
	if err != nil {
		return media.Source{}, err
	}
	return fileSource(file, where)
}

func fileSource(f web.Fields, where string) (media.Source, error) {
	s := media.Source{Kind: media.File}
	if err := f.Into("filename", where, &s.Name, "a string"); err != nil {
		return s, err
	}
	member := "file_data"
	if !f.Given(member) && f.Given("file_url") {
		member = "file_url"
	}
	s.Where, s.Data = web.JoinField(where, member), f[member]
	return s, sendable(f, s, where)
}

// sendable refuses what is not there, or not here.
func sendable(f web.Fields, s media.Source, where string) error {
	switch {
	case web.KindOf(s.Data) == '"':
		return nil
	case len(s.Data) > 0 && !web.IsNull(s.Data):
		return web.BadRequest(s.Where, "%s must be a string", s.Where)
	case f.Given("file_id"):
		at := web.JoinField(where, "file_id")
		return web.BadRequest(at, "%s: files are not kept here; send a data URI (data:image/png;base64,...)", at)
	}
	return web.BadRequest(s.Where, "%s is needed: a data URI (data:image/png;base64,...)", s.Where)
}
