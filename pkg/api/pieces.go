package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"

	"github.com/klauspost/compress/flate"
)

// piece is a part of bodies, in both forms: what is large and changes in few places is
// rendered and compressed where it has changed only.
type piece struct {
	plain  []byte
	zipped []byte // some whole blocks of deflate, none of which looks back
	sum    [sha256.Size]byte
}

func newPiece(plain []byte) *piece {
	var b bytes.Buffer
	b.Grow(len(plain)/8 + flushed)
	z, err := flate.NewWriter(&b, flate.BestSpeed)
	if err == nil {
		_, err = z.Write(plain)
	}
	if err == nil {
		err = z.Flush()
	}
	if err != nil {
		panic(err) // the level is a constant that exists, and a buffer takes everything
	}
	return &piece{plain: plain, zipped: bytes.Clone(b.Bytes()), sum: sha256.Sum256(plain)}
}

// flushed is more than the mark that ends a piece takes.
const flushed = 16

// What stands between the elements of an array.
var opening, comma, closing = newPiece([]byte("[")), newPiece([]byte(",")), newPiece([]byte("]"))

// array is an answer that has elements. It is made in the time that copying their
// compressed forms takes.
func array(elements []*piece) *answer {
	if len(elements) == 0 {
		return newAnswer([]byte("[]"))
	}
	parts := make([]*piece, 0, 2*len(elements)+1)
	parts = append(parts, opening)
	for i, e := range elements {
		if i > 0 {
			parts = append(parts, comma)
		}
		parts = append(parts, e)
	}
	return assembled(append(parts, closing))
}

// assembled is an answer of pieces, as one member of gzip (RFC 1952).
func assembled(parts []*piece) *answer {
	const (
		header = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff" // deflate, no name, fast, of an unknown system
		last   = "\x03\x00"                                 // an empty block, which is the last one
	)
	length, size := 0, len(header)+len(last)+8
	for _, p := range parts {
		length += len(p.plain)
		size += len(p.zipped)
	}
	out := &answer{length: length, zipped: make([]byte, 0, size)}
	out.zip.Do(func() {})
	out.zipped = append(out.zipped, header...)
	check := uint32(0)
	name := sha256.New()
	for _, p := range parts {
		out.zipped = append(out.zipped, p.zipped...)
		check = crc32.Update(check, crc32.IEEETable, p.plain)
		_, _ = name.Write(p.sum[:]) // a hash takes everything
	}
	out.zipped = append(out.zipped, last...)
	out.zipped = binary.LittleEndian.AppendUint32(out.zipped, check)
	out.zipped = binary.LittleEndian.AppendUint32(out.zipped, uint32(length))
	out.etag = `W/"` + hex.EncodeToString(name.Sum(nil)[:12]) + `"`
	return out
}
