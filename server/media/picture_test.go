package media

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"strings"
	"testing"
)

func encodePNG(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, height))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodeJPEG(t testing.TB, width, height int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, image.NewRGBA(image.Rect(0, 0, width, height)), nil); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func encodeGIF(t testing.TB, width, height, frames int) []byte {
	t.Helper()
	g := gif.GIF{}
	for range frames {
		g.Image = append(g.Image, image.NewPaletted(image.Rect(0, 0, width, height), color.Palette{color.Black, color.White}))
		g.Delay = append(g.Delay, 1)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, &g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func pngChunk(kind string, data []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	out = append(append(out, kind...), data...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(out[4:]))
}

// pngHeader has a size that no picture has to be made for, and before it the chunks.
func pngHeader(width, height uint32, before ...[]byte) []byte {
	ihdr := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, width), height)
	out := append([]byte("\x89PNG\r\n\x1a\n"), bytes.Join(before, nil)...)
	return append(out, pngChunk("IHDR", append(ihdr, 8, 0, 0, 0, 0))...)
}

// jpegHeader has segments, and then a frame of a kind.
func jpegHeader(sof byte, width, height uint16, before ...[]byte) []byte {
	out := append([]byte{0xff, 0xd8}, bytes.Join(before, nil)...)
	out = append(out, 0xff, sof, 0, 11, 8)
	out = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(out, height), width)
	return append(out, 1, 1, 0x11, 0)
}

func jpegSegment(kind byte, data []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{0xff, kind}, uint16(2+len(data))), data...)
}

func webp(chunks ...[]byte) []byte {
	body := append([]byte("WEBP"), bytes.Join(chunks, nil)...)
	return append(binary.LittleEndian.AppendUint32([]byte("RIFF"), uint32(len(body))), body...)
}

func riffChunk(kind string, data []byte) []byte {
	out := append(binary.LittleEndian.AppendUint32([]byte(kind), uint32(len(data))), data...)
	return append(out, make([]byte, len(data)%2)...)
}

func webpLossy(width, height uint16) []byte {
	data := []byte{0x30, 0x01, 0x00, 0x9d, 0x01, 0x2a}
	return riffChunk("VP8 ", append(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(data, width), height), 0, 0))
}

func webpLossless(width, height uint32) []byte {
	return riffChunk("VP8L", append(binary.LittleEndian.AppendUint32([]byte{0x2f}, width-1|(height-1)<<14), 0, 0))
}

func webpExtended(width, height uint32) []byte {
	w, h := width-1, height-1
	return riffChunk("VP8X", []byte{0x02, 0, 0, 0, byte(w), byte(w >> 8), byte(w >> 16), byte(h), byte(h >> 8), byte(h >> 16)})
}

// gifHeader has a screen, and a frame in it.
func gifHeader(width, height, left, top, frameWidth, frameHeight uint16, before ...[]byte) []byte {
	out := []byte("GIF89a")
	out = binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(out, width), height)
	out = append(append(out, 0x80, 0, 0, 0, 0, 0, 255, 255, 255), bytes.Join(before, nil)...)
	out = append(out, 0x2c)
	for _, v := range []uint16{left, top, frameWidth, frameHeight} {
		out = binary.LittleEndian.AppendUint16(out, v)
	}
	return append(out, 0, 2, 1, 0, 0, 0x3b)
}

func TestPictureSize(t *testing.T) {
	exif := jpegSegment(0xe1, append([]byte("Exif\x00\x00"), jpegHeader(0xc0, 160, 120)...)) // with a thumbnail
	profile := jpegSegment(0xe2, append([]byte("ICC_PROFILE\x00\x01\x01"), make([]byte, 65000)...))
	for name, c := range map[string]struct {
		data          []byte
		kind          string
		width, height int64
	}{
		"png":                  {encodePNG(t, 3, 5), typePNG, 3, 5},
		"png animated":         {pngHeader(7, 9, pngChunk("acTL", make([]byte, 8))), typePNG, 7, 9},
		"png of Apple's tools": {pngHeader(7, 9, pngChunk("CgBI", make([]byte, 4))), typePNG, 7, 9},
		"png with a profile":   {pngHeader(7, 9, pngChunk("iCCP", make([]byte, 70000))), typePNG, 7, 9},
		"png, huge":            {pngHeader(1<<31-1, 1<<31-1), typePNG, 1<<31 - 1, 1<<31 - 1},
		"png, too huge":        {pngHeader(1<<32-1, 1), typePNG, 1<<32 - 1, 1},
		"png of nothing":       {pngHeader(0, 9), typePNG, 0, 9},
		"jpeg":                 {encodeJPEG(t, 3, 5), typeJPEG, 3, 5},
		"jpeg with exif":       {jpegHeader(0xc0, 30, 50, exif, profile, profile), typeJPEG, 30, 50},
		"jpeg progressive":     {jpegHeader(0xc2, 30, 50), typeJPEG, 30, 50},
		"jpeg arithmetic":      {jpegHeader(0xc9, 30, 50, jpegSegment(0xcc, []byte{0, 0})), typeJPEG, 30, 50},
		"jpeg, tables first":   {jpegHeader(0xc0, 30, 50, jpegSegment(0xc4, make([]byte, 20)), jpegSegment(0xc8, nil)), typeJPEG, 30, 50},
		"jpeg with fillers":    {jpegHeader(0xc0, 30, 50, []byte{0xff, 0xff, 0xff}, jpegSegment(0xe0, make([]byte, 14)), []byte{0xff, 0xff}), typeJPEG, 30, 50},
		"jpeg with garbage":    {jpegHeader(0xc0, 30, 50, jpegSegment(0xfe, []byte("c")), []byte{1, 2, 0xff, 0x00, 0xff, 0xd0}), typeJPEG, 30, 50},
		"jpeg of nothing":      {jpegHeader(0xc0, 30, 0), typeJPEG, 30, 0},
		"gif":                  {encodeGIF(t, 3, 5, 1), typeGIF, 3, 5},
		"gif animated":         {encodeGIF(t, 3, 5, 4), typeGIF, 3, 5},
		"gif, no screen":       {gifHeader(0, 0, 0, 0, 3, 5), typeGIF, 3, 5},
		"gif out of screen":    {gifHeader(1, 1, 10, 20, 60000, 60000, []byte{0x21, 0xf9, 4, 0, 0, 0, 0, 0}, []byte{0x21, 0xfe, 3, 1, 2, 3, 1, 9, 0}), typeGIF, 60010, 60020},
		"gif of nothing":       {gifHeader(0, 0, 0, 0, 0, 0), typeGIF, 0, 0},
		"webp lossy":           {webp(webpLossy(3, 5)), typeWebP, 3, 5},
		"webp lossy, scaled":   {webp(webpLossy(3|1<<14, 5|3<<14)), typeWebP, 3, 5},
		"webp lossless":        {webp(webpLossless(16384, 5)), typeWebP, 16384, 5},
		"webp extended":        {webp(webpExtended(1<<24, 5), riffChunk("ICCP", make([]byte, 7)), webpLossy(3, 5)), typeWebP, 1 << 24, 5},
		"webp, unknown first":  {webp(riffChunk("XYZ ", make([]byte, 7)), webpLossless(3, 5)), typeWebP, 3, 5},
	} {
		if kind := pictureType(c.data); kind != c.kind {
			t.Errorf("%s: %q", name, kind)
		}
		if width, height, ok := pictureSize(c.kind, c.data); !ok || width != c.width || height != c.height {
			t.Errorf("%s: %d by %d, %v", name, width, height, ok)
		}
	}
}

// A header that was cut off anywhere has no size, or that of the whole one.
func TestPictureSize_CutOff(t *testing.T) {
	for _, data := range [][]byte{
		pngHeader(3, 5, pngChunk("CgBI", make([]byte, 4))), jpegHeader(0xc0, 3, 5, jpegSegment(0xe0, make([]byte, 20))), encodeGIF(t, 3, 5, 1),
		webp(webpLossy(3, 5)), webp(webpLossless(3, 5)), webp(webpExtended(3, 5)),
	} {
		kind := pictureType(data)
		for n := range data {
			if width, height, ok := pictureSize(kind, data[:n]); ok && (width != 3 || height != 5) {
				t.Errorf("%s, %d of %d bytes: %d by %d", kind, n, len(data), width, height)
			} else if ok && n < 12 {
				t.Errorf("%s, %d bytes have a size", kind, n)
			}
		}
	}
	for name, data := range map[string][]byte{
		"a scan without a frame": append([]byte{0xff, 0xd8}, jpegSegment(0xda, make([]byte, 8))...), "an end without a frame": {0xff, 0xd8, 0xff, 0xd9},
		"segments of no length": append([]byte{0xff, 0xd8}, bytes.Repeat([]byte{0xff, 0xe0, 0, 0}, 100)...),
		"no frame":              append([]byte{0xff, 0xd8, 0xff}, make([]byte, 1000)...),
		"chunks of no length":   append([]byte("\x89PNG\r\n\x1a\n"), bytes.Repeat(pngChunk("tEXt", nil), 1000)...),
		"a chunk of 4 GiB":      []byte("\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXt12345678"),
		"a riff chunk of 4 GiB": webp([]byte("XYZ \xff\xff\xff\xff12345678")),
		"no key frame":          webp(riffChunk("VP8 ", make([]byte, 20))),
		"no signature":          webp(riffChunk("VP8L", make([]byte, 20))),
	} {
		if width, height, ok := pictureSize(pictureType(data), data); ok {
			t.Errorf("%s: %d by %d", name, width, height)
		}
	}
}

func TestPictureType_None(t *testing.T) {
	for _, text := range []string{"", "GIF", "GIF88a", "\x89PNG", "\xff\xd8", "RIFF\x00\x00\x00\x00WAVE", "RIFF", "<svg/>", "%PDF-1.7", "BM", " \x89PNG\r\n\x1a\n"} {
		if kind := pictureType([]byte(text)); kind != "" {
			t.Errorf("%q: %s", text, kind)
		}
	}
}

// What the standard library can tell of a picture's size, we tell alike.
func FuzzPictureSize(f *testing.F) {
	for _, data := range [][]byte{
		encodePNG(f, 3, 5), encodeJPEG(f, 3, 5), encodeGIF(f, 3, 5, 2), webp(webpLossy(3, 5)), webp(webpLossless(3, 5)), webp(webpExtended(3, 5)),
		pngHeader(1<<31-1, 1), jpegHeader(0xc2, 30, 50, jpegSegment(0xe1, make([]byte, 9)), []byte{0xff, 0xff}), gifHeader(1, 2, 0, 0, 1, 2),
	} {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		kind := pictureType(data)
		if kind == "" {
			return
		}
		width, height, ok := pictureSize(kind, data)
		if ok && (width < 0 || height < 0 || width > 1<<32 || height > 1<<32) {
			t.Errorf("%s: %d by %d", kind, width, height)
		}
		if allocated := testing.AllocsPerRun(1, func() { _, _, _ = pictureSize(kind, data) }); allocated > 0 {
			t.Errorf("%s: %v allocations", kind, allocated)
		}
		standard := map[string]func(*bytes.Reader) (image.Config, error){
			typePNG:  func(r *bytes.Reader) (image.Config, error) { return png.DecodeConfig(r) },
			typeJPEG: func(r *bytes.Reader) (image.Config, error) { return jpeg.DecodeConfig(r) },
			typeGIF:  func(r *bytes.Reader) (image.Config, error) { return gif.DecodeConfig(r) },
		}[kind]
		if standard == nil {
			return
		}
		c, err := standard(bytes.NewReader(data))
		same := width == int64(c.Width) && height == int64(c.Height)
		if kind == typeGIF { // the library goes by the screen alone
			same = width >= int64(c.Width) && height >= int64(c.Height)
		}
		if err == nil && (!ok || !same) {
			t.Errorf("%s: %d by %d, %v, want %d by %d", kind, width, height, ok, c.Width, c.Height)
		}
	})
}

func TestNotTaken(t *testing.T) {
	for text, want := range map[string]string{
		"<svg xmlns='http://www.w3.org/2000/svg'/>": "SVG", " \n<?xml version='1.0'?><!-- x --><SVG/>": "SVG", "\ufeff<svg>": "SVG", "%PDF-1.7": "PDF", "\x00\x00\x00\x18ftypheic\x00\x00": "HEIC",
		"II*\x00": "TIFF", "MM\x00*": "TIFF", "BM\x00\x00": "BMP", "<!DOCTYPE html>": "HTML", "nothing": "no image that is taken: send",
	} {
		if err := notTaken("x", []byte(text)); !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
