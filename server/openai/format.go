package openai

import (
	"penstock/server/dialect"
	"penstock/server/web"
)

// format is what an answer has to be: a chat's response_format, or a response's text.format.
type format struct {
	web.Fields
	where string // the field that it is
	kind  string
}

func decodeFormat(f web.Fields, key, where string) (format, error) {
	o := format{where: web.JoinField(where, key), kind: "text"}
	if !f.Given(key) {
		return o, nil
	}
	var err error
	if o.Fields, err = web.ParseObject(f[key], o.where); err != nil {
		return o, err
	}
	err = o.Into("type", o.where, &o.kind, "a string")
	return o, err
}

// into has the request ask for it. A chat has the schema one level deeper: in.
func (o format) into(q *dialect.Request, in string) error {
	switch o.kind {
	case "text":
		return nil
	case "json_object":
		q.AnyObject = true
		return nil
	case "json_schema":
	default:
		return web.BadRequest(o.where+".type", "%s.type must be text, json_object or json_schema", o.where)
	}
	settings, where := o.Fields, o.where
	if in != "" {
		where = web.JoinField(where, in)
		if !o.Given(in) {
			return web.BadRequest(where, "%s is needed", where)
		}
		var err error
		if settings, err = web.ParseObject(o.Fields[in], where); err != nil {
			return err
		}
	}
	// What a schema is called and whether it is meant strictly changes nothing: it is kept to.
	var text string
	for _, key := range []string{"name", "description"} {
		if err := settings.Into(key, where, &text, "a string"); err != nil {
			return err
		}
	}
	var strict bool
	if err := settings.Into("strict", where, &strict, "true or false"); err != nil {
		return err
	}
	return q.SetSchema(settings["schema"], web.JoinField(where, "schema"))
}
