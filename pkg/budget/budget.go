// Package budget bounds the memory that requests take together: bodies, what is
// decoded of them, logs, and other services' answers. Whoever finds no room is
// refused, instead of the process being killed.
package budget

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrFull is returned when others have taken the room, ErrNever when there is not
// as much in all.
var (
	ErrFull  = errors.New("too much memory is taken by other requests")
	ErrNever = errors.New("it is larger than all the memory that requests may take")
)

// Budget is a number of bytes.
type Budget struct {
	total int64

	mu   sync.Mutex
	used int64
}

// New makes one of so many bytes.
func New(total int64) *Budget { return &Budget{total: total} }

// Used is how much is taken.
func (b *Budget) Used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.used
}

// Take takes bytes until free is called, which may be done more than once.
func (b *Budget) Take(n int64) (free func(), err error) {
	if n > b.total {
		return func() {}, fmt.Errorf("%w: %d of %d bytes", ErrNever, n, b.total)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.used+n > b.total {
		return func() {}, ErrFull
	}
	b.used += n
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.used -= n
	}), nil
}

// chunk is how much is read at a time.
const chunk = 32 << 10

// ErrTooLong is returned for what is longer than it may be.
var ErrTooLong = errors.New("it is too long")

// ReadAll reads everything, at most so many bytes, and takes the room before it
// is used. each, which may be nil, is called with the number of bytes that have
// come so far before more are waited for.
func (b *Budget) ReadAll(from io.Reader, most int64, each func(soFar int64)) (content []byte, free func(), err error) {
	var taken []func()
	free = func() {
		for _, give := range taken {
			give()
		}
	}
	for {
		if len(content) == cap(content) {
			grown := min(max(2*cap(content), chunk), int(most)+chunk)
			give, err := b.Take(int64(grown))
			if err != nil {
				free()
				return nil, func() {}, err
			}
			larger := make([]byte, len(content), grown)
			copy(larger, content)
			content = larger
			free()
			taken = append(taken[:0], give)
		}
		if each != nil {
			each(int64(len(content)))
		}
		n, err := from.Read(content[len(content):min(cap(content), len(content)+chunk)])
		content = content[:len(content)+n]
		switch {
		case int64(len(content)) > most:
			free()
			return nil, func() {}, fmt.Errorf("%w: more than %d bytes", ErrTooLong, most)
		case errors.Is(err, io.EOF):
			return content, free, nil
		case err != nil:
			free()
			return nil, func() {}, err
		}
	}
}
