package watch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

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

// frameReader splits a watch into its events: one JSON value a line.
type frameReader struct {
	r    *bufio.Reader
	long []byte
}

// mostFrame bounds one event; etcd takes no object over 1.5 MB, custom
// limits reach a few more.
const mostFrame = 32 << 20

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
	f.long = f.long[:0]
	for {
		part, err := f.r.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull), len(f.long) > 0:
			if len(f.long)+len(part) > mostFrame {
				return nil, fmt.Errorf("an event of more than %d bytes", mostFrame)
			}
			f.long = append(f.long, part...)
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			part = f.long
		}
		if err != nil && len(bytes.TrimSpace(part)) > 0 {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if part = bytes.TrimSpace(part); len(part) > 0 {
			return part, nil
		}
		f.long = f.long[:0]
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
