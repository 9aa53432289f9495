package codex

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"

	"penstock/backend"
)

// Of a PNG, GIF or WebP that isn't whole codex (0.169.0) tells its model that there was one, and us
// nothing; a JPEG it hands on as it is. isWhole finds what was cut short or garbled on its way,
// and decodes nothing.
func isWhole(image backend.Attachment) bool {
	switch image.Type {
	case "image/png":
		return isWholePNG(image.Data)
	case "image/gif":
		return isWholeGIF(image.Data)
	case "image/webp": // RFC 9649, 2.3: the size is of all after it
		return len(image.Data) >= 12 && int64(len(image.Data)) >= 8+int64(binary.LittleEndian.Uint32(image.Data[4:]))
	}
	return true
}

// isWholePNG goes from chunk to chunk, each with its sum, to the last one (PNG, 5.3).
func isWholePNG(data []byte) bool {
	if len(data) < 8 {
		return false
	}
	for data = data[8:]; len(data) >= 12; {
		length := int64(binary.BigEndian.Uint32(data))
		if length > int64(len(data))-12 {
			return false
		}
		chunk, sum := data[4:8+length], binary.BigEndian.Uint32(data[8+length:])
		if crc32.ChecksumIEEE(chunk) != sum {
			return false
		}
		if bytes.HasPrefix(chunk, []byte("IEND")) {
			return true
		}
		data = data[12+length:]
	}
	return false
}

// isWholeGIF goes from block to block to the end of the first image (GIF89a, 18 to 22).
func isWholeGIF(data []byte) bool {
	const table, extension, image = 0x80, 0x21, 0x2c
	skip := func(n int) {
		data = data[min(n, len(data)):]
	}
	if len(data) < 13 {
		return false
	}
	flags := data[10]
	skip(13)
	if flags&table != 0 {
		skip(3 << (flags&7 + 1))
	}
	for len(data) > 0 {
		kind := data[0]
		switch {
		case kind == extension:
			skip(2)
		case kind == image && len(data) >= 10:
			flags = data[9]
			skip(10)
			if flags&table != 0 {
				skip(3 << (flags&7 + 1))
			}
			skip(1) // the size of a code
		default:
			return false
		}
		for len(data) > 0 && data[0] != 0 {
			skip(1 + int(data[0]))
		}
		if len(data) == 0 {
			return false
		}
		skip(1)
		if kind == image {
			return true
		}
	}
	return false
}
