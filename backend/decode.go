package backend

import (
	"encoding/json"
	"errors"
)

// decode reads one JSON object into v and is false when line is none. A field
// of another type than expected is left out and the rest still counts: a new
// version of a CLI that changes one figure must not silence its text.
func decode(line []byte, v any) bool {
	err := json.Unmarshal(line, v)
	if err == nil {
		return true
	}
	var mismatch *json.UnmarshalTypeError
	return errors.As(err, &mismatch) && mismatch.Field != ""
}
