package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
)

// lineMax bounds a line of a stream, in bytes: a run's longest line of output
// may be one frame.
const lineMax = 64 << 20

// frame is a server-sent event, or a comment (WHATWG HTML, 9.2).
type frame struct {
	id      int64 // -1 without one
	data    []byte
	comment string
}

// frames cuts a stream into frames.
type frames struct {
	in  *bufio.Reader
	raw io.Writer // gets every line as it is; may be nil
}

func newFrames(r io.Reader, raw io.Writer) *frames {
	return &frames{in: bufio.NewReaderSize(r, 64<<10), raw: raw}
}

// next waits for a frame or a comment. What the end of the stream cuts off is
// none: io.ErrUnexpectedEOF.
func (f *frames) next() (frame, error) {
	out := frame{id: -1}
	var data [][]byte
	for {
		line, err := f.line()
		if err != nil {
			return frame{}, err
		}
		if len(line) == 0 {
			if data == nil {
				out.id = -1
				continue
			}
			out.data = bytes.Join(data, []byte("\n"))
			return out, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "":
			if data != nil {
				continue // one inside an event is none of its own
			}
			return frame{id: -1, comment: string(value)}, nil
		case "data":
			data = append(data, bytes.Clone(value))
		case "id":
			if n, err := strconv.ParseInt(string(value), 10, 64); err == nil {
				out.id = n
			}
		}
	}
}

// line is valid until the next call.
func (f *frames) line() ([]byte, error) {
	line, err := f.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		line, err = f.long(bytes.Clone(line))
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	if f.raw != nil {
		if _, err := f.raw.Write(line); err != nil {
			return nil, err
		}
	}
	return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
}

func (f *frames) long(begin []byte) ([]byte, error) {
	for {
		more, err := f.in.ReadSlice('\n')
		begin = append(begin, more...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return begin, err
		}
		if len(begin) > lineMax {
			return nil, errors.New("a line of the stream is too long")
		}
	}
}
