package api

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
)

// piece is a part of bodies in its compressed form: what is large and changes in few
// places is rendered and compressed where it has changed only.
type piece struct {
	zipped []byte // some whole blocks of deflate, none of which looks back
	length int    // of the plain form
	check  uint32 // CRC-32 of the plain form
	behind uint32 // what a check is multiplied by when the piece comes behind it
	sum    [sha256.Size]byte
}

func newPiece(plain []byte) *piece {
	var b bytes.Buffer
	b.Grow(len(plain)/8 + flushed)
	z := deflaters.on(&b)
	defer deflaters.leave(z)
	_, err := z.Write(plain)
	if err == nil {
		err = z.Flush()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return &piece{zipped: bytes.Clone(b.Bytes()), length: len(plain), check: crc32.ChecksumIEEE(plain), behind: shift(len(plain)), sum: sha256.Sum256(plain)}
}

// The check of two texts, one behind the other, is that of the first, multiplied by a
// power of x that the second's length gives, and added to that of the second. Checks are
// polynomials over GF(2) modulo the one of CRC-32, the highest power in the lowest bit.

// times multiplies two polynomials, of which the first is not 0.
func times(a, b uint32) (product uint32) {
	for bit := uint32(1) << 31; bit != 0; bit >>= 1 {
		if a&bit != 0 {
			product ^= b
		}
		odd := b & 1
		b >>= 1
		if odd != 0 {
			b ^= crc32.IEEE
		}
	}
	return product
}

// shift is x to the power of as many bits as so many bytes have.
func shift(bytes int) uint32 {
	const one, x = uint32(1) << 31, uint32(1) << 30
	power, square := one, x
	for bits := 8 * uint64(bytes); bits > 0; bits >>= 1 {
		if bits&1 != 0 {
			power = times(square, power)
		}
		square = times(square, square)
	}
	return power
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
		length += p.length
		size += len(p.zipped)
	}
	out := &answer{length: length, zipped: make([]byte, 0, size)}
	out.zip.Do(func() {})
	out.zipped = append(out.zipped, header...)
	check := uint32(0)
	name := sha256.New()
	for _, p := range parts {
		out.zipped = append(out.zipped, p.zipped...)
		check = times(p.behind, check) ^ p.check
		_, _ = name.Write(p.sum[:]) // a hash takes everything
	}
	out.zipped = append(out.zipped, last...)
	out.zipped = binary.LittleEndian.AppendUint32(out.zipped, check)
	out.zipped = binary.LittleEndian.AppendUint32(out.zipped, uint32(length))
	out.etag = etagOf(name.Sum(nil))
	return out
}
