// Package ui holds the live page: a few files, served as they are. The page
// knows nothing that the API doesn't tell it, and needs the same token.
package ui

import (
	"bytes"
	"embed"
	"mime"
	"net/http"
	"path"
	"time"
)

//go:embed page.html *.css *.js
var files embed.FS

// policy lets the page load its own files and talk to its own daemon, nothing
// else. What a run says is hostile: Trusted Types make each way by which text
// could become markup or code an error in the browser.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Page is the name of the document; the others are what it loads.
const Page = "page.html"

// Serve writes a file; false, and nothing written, when there is none of the name.
func Serve(w http.ResponseWriter, r *http.Request, name string) bool {
	text, err := files.ReadFile(name)
	if err != nil {
		return false
	}
	h := w.Header()
	h.Set("Content-Type", mime.TypeByExtension(path.Ext(name)))
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-cache") // a new daemon has a new page
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(text))
	return true
}
