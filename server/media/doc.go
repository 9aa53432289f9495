// Package media makes attachments for a CLI of the images and files that a request brings, or
// names by URL, and holds them to their bounds. Only a part of the turn that is sent is decoded:
// clients send the images of earlier turns again and again.
//
//	a dialect's decoder ──> []Source      batch.go    a field of the body, as it is: costs nothing
//	                          │ Decode    batch.go    the bounds, all of them; pure
//	                          ├─ datauri.go           RFC 2397, base64
//	                          ├─ picture.go           what the bytes are, how many pixels: the header alone
//	                          └─ filetype.go          the types and names of files
//	                          ▼
//	                        Batch
//	                          │ Fetch     fetch.go    what is at a URL, where the operator allows it
//	                          ▼
//	                   []backend.Attachment           in order, each with a type and a name of its own
//
// Decode belongs under web.Intake's decoder, Fetch behind it and before admission: it may wait
// for the network. Every refusal is a web.Error that names the field, what is wrong with it and
// what to do, and never has any of the data in it.
package media
