package watch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
)

// frame is one event of a watch.
type frame struct {
	event  string
	object []byte
}

func (f frame) failure() error {
	var status cluster.Status
	if err := json.Unmarshal(f.object, &status); err != nil {
		return undecodable(err)
	}
	return status.Failure()
}

type bookmark struct {
	Metadata struct {
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
}

// ends says whether the initial events of a streaming list are complete.
func (b bookmark) ends() bool { return b.Metadata.Annotations["k8s.io/initial-events-end"] == "true" }

func bookmarkOf(f frame) (bookmark, error) {
	var b bookmark
	if err := json.Unmarshal(f.object, &b); err != nil {
		return b, undecodable(err)
	}
	if b.Metadata.ResourceVersion == "" {
		return b, undecodable(errors.New("a bookmark without resourceVersion"))
	}
	return b, nil
}

// frameReader splits a watch into its events: one JSON value a line. Most watches
// say nothing most of the time, so that a buffer is only held while there is
// something in it.
type frameReader struct {
	r     io.Reader
	first [256]byte // what begins to come is read into it
	buf   []byte    // from frameBuffers, nil for none; unread is a part of it
	// unread is what has come behind the last line.
	unread []byte
	long   []byte // a line that does not fit into a buffer
}

// mostFrame bounds one event; etcd takes no object over 1.5 MB, custom
// limits reach a few more.
const mostFrame = 32 << 20

const frameBuffer = 32 << 10

var frameBuffers = sync.Pool{New: func() any { return new([frameBuffer]byte) }}

func (f *frameReader) next() (frame, error) {
	line, err := f.line()
	if err != nil {
		return frame{}, err
	}
	return parseFrame(line)
}

// line returns the next line that is not blank. It is valid until the next
// call.
func (f *frameReader) line() ([]byte, error) {
	for {
		line, err := f.any()
		if err != nil {
			return nil, err
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			return line, nil
		}
	}
}

// any returns the next line.
func (f *frameReader) any() ([]byte, error) {
	f.long = nil
	for {
		if end := bytes.IndexByte(f.unread, '\n'); end >= 0 {
			line := f.unread[:end]
			f.unread = f.unread[end+1:]
			if f.long != nil {
				line = append(f.long, line...)
				f.long = line
			}
			return line, nil
		}
		if err := f.more(); err != nil {
			rest := len(bytes.TrimSpace(f.unread)) + len(bytes.TrimSpace(f.long))
			f.end()
			if errors.Is(err, io.EOF) && rest > 0 {
				return nil, io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
}

// more reads what comes behind the unread, which has no line in it.
func (f *frameReader) more() error {
	if len(f.unread) == 0 && f.long == nil {
		f.end()
		n, err := f.read(f.first[:])
		f.unread = f.first[:n]
		return err
	}
	if f.buf == nil {
		f.buf = frameBuffers.Get().(*[frameBuffer]byte)[:]
	}
	if len(f.unread) == len(f.buf) { // a line of more than a buffer
		if len(f.long)+len(f.unread) > mostFrame {
			return fmt.Errorf("an event of more than %d bytes", mostFrame)
		}
		f.long = append(f.long, f.unread...)
		f.unread = nil
	}
	held := copy(f.buf, f.unread)
	n, err := f.read(f.buf[held:])
	f.unread = f.buf[:held+n]
	return err
}

// read reads something, or says why not.
func (f *frameReader) read(p []byte) (int, error) {
	const mostEmpty = 100
	for range mostEmpty {
		n, err := f.r.Read(p)
		if n > 0 {
			return n, nil // an error comes again
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}

// end gives the buffer back. What was read is lost.
func (f *frameReader) end() {
	f.unread, f.long = nil, nil
	if f.buf != nil {
		frameBuffers.Put((*[frameBuffer]byte)(f.buf))
		f.buf = nil
	}
}

// parseFrame takes the usual form apart by its fixed beginning, which saves
// reading the object twice, and any other form as JSON.
func parseFrame(line []byte) (frame, error) {
	const typeKey, objectKey = `{"type":"`, `","object":`
	if rest, ok := bytes.CutPrefix(line, []byte(typeKey)); ok && line[len(line)-1] == '}' {
		if name, object, ok := bytes.Cut(rest, []byte(objectKey)); ok && bytes.IndexByte(name, '"') < 0 {
			return frame{event: string(name), object: object[:len(object)-1]}, nil
		}
	}
	var f struct {
		Type   string          `json:"type"`
		Object json.RawMessage `json:"object"`
	}
	if err := json.Unmarshal(line, &f); err != nil {
		return frame{}, fmt.Errorf("an event that is not JSON: %w", err)
	}
	return frame{event: f.Type, object: f.Object}, nil
}
