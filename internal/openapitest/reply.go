package openapitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// bodyCheck is given a body piece by piece.
type bodyCheck interface {
	add(piece []byte) error
	end() error // the body is whole
}

// unmatched are the replies to what no route takes.
var unmatched = map[int]string{
	http.StatusUnauthorized: "Unauthorized", http.StatusForbidden: "Forbidden", http.StatusNotFound: "NotFound",
	http.StatusMethodNotAllowed: "MethodNotAllowed", http.StatusUnsupportedMediaType: "UnsupportedMediaType", http.StatusUpgradeRequired: "UpgradeRequired",
}

// checkHead checks status and headers, and gives the check of the body; nil
// where the document leaves it open.
func (d *Document) checkHead(r *http.Request, resp *http.Response) (bodyCheck, error) {
	pointer := "/components/responses/" + unmatched[resp.StatusCode]
	if op, ok := d.find(r.Method, r.URL.Path); ok {
		pointer = op.at + "/responses/" + strconv.Itoa(resp.StatusCode)
	}
	documented, at := d.look(pointer)
	if documented == nil {
		return nil, errors.New("the status is not documented")
	}
	if err := d.checkHeaders(documented, at, resp.Header); err != nil {
		return nil, err
	}
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err != nil {
		return nil, fmt.Errorf("Content-Type %q: %w", resp.Header.Get("Content-Type"), err)
	}
	schema := at + "/content/" + escape(media) + "/schema"
	found, _ := d.look(schema)
	if found == nil {
		return nil, fmt.Errorf("Content-Type %s is not documented", media)
	}
	switch media {
	case "application/json":
		return &jsonCheck{document: d, schema: schema}, nil
	case "text/event-stream":
		return &streamCheck{may: d.streams(schema)}, nil
	}
	return nil, nil
}

func (d *Document) checkHeaders(documented map[string]any, at string, got http.Header) error {
	known := []string{}
	names, _ := documented["headers"].(map[string]any)
	for name := range names {
		known = append(known, http.CanonicalHeaderKey(name))
		header, where := d.look(at + "/headers/" + escape(name))
		value := got.Get(name)
		switch {
		case value == "" && header["required"] == true:
			return fmt.Errorf("header %s is missing", name)
		case value == "":
		default:
			if err := d.validate(reply, where+"/schema", value); err != nil {
				return fmt.Errorf("header %s: %w", name, err)
			}
		}
	}
	for name := range got {
		ours := strings.HasPrefix(name, "X-") || slices.Contains([]string{"Request-Id", "Retry-After", "Allow", "Www-Authenticate"}, name)
		if ours && !slices.Contains(known, name) {
			return fmt.Errorf("header %s is not documented", name)
		}
	}
	return nil
}

// jsonCheck holds a whole body against a schema.
type jsonCheck struct {
	document *Document
	schema   string
	got      bytes.Buffer
}

func (c *jsonCheck) add(piece []byte) error {
	c.got.Write(piece)
	return nil
}

func (c *jsonCheck) end() error { return c.document.holdJSON(reply, c.schema, c.got.Bytes()) }

func (d *Document) holdJSON(s side, schema string, text []byte) error {
	if !json.Valid(text) { // jsonschema's reader takes what follows the first value
		return fmt.Errorf("not JSON: %.200s", text)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%w: %.200s", err, text)
	}
	if err := d.validate(s, schema, v); err != nil {
		return fmt.Errorf("%w\nin %.600s", err, text)
	}
	return nil
}
