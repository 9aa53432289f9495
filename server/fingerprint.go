package server

import (
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strings"
)

// fingerprint is what makes two requests the same: everything but how the
// answer is to be delivered. Key order and spacing don't count.
func (q *chatRequest) fingerprint() (fingerprint, error) {
	f, session := q.fields, q.Session
	var keys []string
	for key := range f {
		if key != "stream" && key != "stream_options" {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	hash := sha256.New()
	write := func(v any) error {
		text, err := json.Marshal(v)
		hash.Write(append(text, '\n'))
		return err
	}
	if err := write(session); err != nil {
		return fingerprint{}, internal(err)
	}
	for _, key := range keys {
		canonical, err := sorted(f[key])
		if err != nil {
			return fingerprint{}, badRequest(key, "not valid JSON: %v", err)
		}
		if err := write([]any{key, canonical}); err != nil {
			return fingerprint{}, internal(err)
		}
	}
	return fingerprint(hash.Sum(nil)), nil
}

// sorted decodes so that encoding again gives one form; numbers keep their
// digits.
func sorted(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	var v any
	err := dec.Decode(&v)
	return v, err
}
