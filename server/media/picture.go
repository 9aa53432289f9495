package media

import (
	"bytes"
	"encoding/binary"

	"penstock/server/web"
)

// The types of the pictures that are taken: those that every provider and every CLI takes.
const (
	typePNG  = "image/png"
	typeJPEG = "image/jpeg"
	typeGIF  = "image/gif"
	typeWebP = "image/webp"
)

// formatName is a picture's type for people.
func formatName(mediaType string) string {
	return map[string]string{typePNG: "PNG", typeJPEG: "JPEG", typeGIF: "GIF", typeWebP: "WebP"}[mediaType]
}

// pictureType is the type that the bytes have, "" where they are no picture that is taken. What
// a client claims counts for nothing: many call every image image/png, and a provider refuses one
// whose type is wrong.
func pictureType(data []byte) string {
	begins := func(with string) bool { return bytes.HasPrefix(data, []byte(with)) }
	switch {
	case begins("\x89PNG\r\n\x1a\n"):
		return typePNG
	case begins("\xff\xd8\xff"):
		return typeJPEG
	case begins("GIF87a"), begins("GIF89a"):
		return typeGIF
	case begins("RIFF") && len(data) >= 12 && string(data[8:12]) == "WEBP":
		return typeWebP
	}
	return ""
}

// notTaken says what else the bytes look like.
func notTaken(where string, data []byte) error {
	head := bytes.ToLower(bytes.TrimSpace(bytes.TrimPrefix(data[:min(len(data), 1<<10)], []byte("\ufeff"))))
	begins := func(with string) bool { return bytes.HasPrefix(head, []byte(with)) }
	looks := ""
	switch {
	case begins("<svg"), begins("<?xml") && bytes.Contains(head, []byte("<svg")):
		looks = " (this looks like SVG)"
	case begins("%pdf-"):
		looks = " (this looks like PDF: send it as a file)"
	case len(head) >= 12 && (string(head[4:8]) == "ftyp"):
		looks = " (this looks like HEIC, AVIF or a film)"
	case begins("ii*\x00"), begins("mm\x00*"):
		looks = " (this looks like TIFF)"
	case begins("bm"):
		looks = " (this looks like BMP)"
	case begins("<"):
		looks = " (this looks like a page of HTML)"
	}
	return web.BadRequest(where, "no image that is taken%s: send PNG, JPEG, GIF or WebP", looks)
}

// pictureSize reads the size of a picture from its header, in pixels; ok is false where that is
// incomplete. It goes over each byte once at most, and decodes nothing.
func pictureSize(mediaType string, data []byte) (width, height int64, ok bool) {
	switch mediaType {
	case typePNG:
		return sizePNG(data)
	case typeJPEG:
		return sizeJPEG(data)
	case typeGIF:
		return sizeGIF(data)
	}
	return sizeWebP(data)
}

// sizePNG looks for IHDR (PNG, 11.2.2), which is the first chunk but in what Apple's tools make.
func sizePNG(data []byte) (width, height int64, ok bool) {
	for at := int64(8); at+16 <= int64(len(data)); {
		length := int64(binary.BigEndian.Uint32(data[at:]))
		if string(data[at+4:at+8]) == "IHDR" {
			return int64(binary.BigEndian.Uint32(data[at+8:])), int64(binary.BigEndian.Uint32(data[at+12:])), true
		}
		at += 12 + length
	}
	return 0, 0, false
}

// sizeJPEG looks for the frame's header (ITU T.81, B.2.2), which is before the first scan. Exif
// and colour profiles are segments before it, a thumbnail is within one.
func sizeJPEG(data []byte) (width, height int64, ok bool) {
	const (
		soi, eoi, sos  = 0xd8, 0xd9, 0xda
		sof0, sof15    = 0xc0, 0xcf
		dht, jpg, dac  = 0xc4, 0xc8, 0xcc // of the same range, and no frame's
		rst0, rst7     = 0xd0, 0xd7
		stuffed, tem   = 0x00, 0x01
		marker, filler = 0xff, 0xff
	)
	for at := 2; at+1 < len(data); {
		if data[at] != marker || data[at+1] == filler {
			at++
			continue
		}
		kind := data[at+1]
		at += 2
		switch {
		case kind == stuffed, kind == tem, kind == soi, rst0 <= kind && kind <= rst7:
			continue // without a length
		case kind == eoi, kind == sos, at+2 > len(data):
			return 0, 0, false
		case sof0 <= kind && kind <= sof15 && kind != dht && kind != jpg && kind != dac:
			if at+7 > len(data) {
				return 0, 0, false
			}
			return int64(binary.BigEndian.Uint16(data[at+5:])), int64(binary.BigEndian.Uint16(data[at+3:])), true
		}
		at += max(2, int(binary.BigEndian.Uint16(data[at:])))
	}
	return 0, 0, false
}

// sizeGIF is the logical screen, or the first image where that reaches out of it: decoders differ
// in which of them they go by (GIF89a, 18 and 20).
func sizeGIF(data []byte) (width, height int64, ok bool) {
	const (
		screen, table            = 13, 0x80
		extension, frame, header = 0x21, 0x2c, 10
	)
	if len(data) < screen {
		return 0, 0, false
	}
	width, height = little16(data[6:]), little16(data[8:])
	at := screen
	if flags := data[10]; flags&table != 0 {
		at += 3 << (flags&7 + 1)
	}
	for at+2 <= len(data) && data[at] == extension {
		for at += 2; at < len(data) && data[at] != 0; {
			at += 1 + int(data[at])
		}
		at++
	}
	if at+header <= len(data) && data[at] == frame {
		width = max(width, little16(data[at+1:])+little16(data[at+5:]))
		height = max(height, little16(data[at+3:])+little16(data[at+7:]))
	}
	return width, height, true
}

// sizeWebP reads the chunk that has the size (RFC 9649, 2.5 to 2.7): lossy, lossless, or extended,
// whose canvas is that of an animation.
func sizeWebP(data []byte) (width, height int64, ok bool) {
	for at := int64(12); at+8 <= int64(len(data)); {
		length := int64(binary.LittleEndian.Uint32(data[at+4:]))
		chunk := data[at+8:]
		switch kind := string(data[at : at+4]); {
		case kind == "VP8X" && len(chunk) >= 10:
			return 1 + little24(chunk[4:]), 1 + little24(chunk[7:]), true
		case kind == "VP8L" && len(chunk) >= 5 && chunk[0] == 0x2f:
			bits := int64(binary.LittleEndian.Uint32(chunk[1:]))
			return 1 + bits&0x3fff, 1 + bits>>14&0x3fff, true
		case kind == "VP8 " && len(chunk) >= 10 && string(chunk[3:6]) == "\x9d\x01\x2a":
			return little16(chunk[6:]) & 0x3fff, little16(chunk[8:]) & 0x3fff, true
		case kind == "VP8X", kind == "VP8L", kind == "VP8 ":
			return 0, 0, false
		}
		at += 8 + length + length&1
	}
	return 0, 0, false
}

func little16(data []byte) int64 { return int64(binary.LittleEndian.Uint16(data)) }
func little24(data []byte) int64 { return little16(data) | int64(data[2])<<16 }
