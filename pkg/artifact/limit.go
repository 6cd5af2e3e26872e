package artifact

import (
	"context"
	"fmt"
	"io"

	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// limited ends with an error after so many bytes, so that a part is never taken
// for the whole.
type limited struct {
	io.ReadCloser
	left, most int64
	// key is what to say of the setting, "" for a bound that is none.
	key string
}

func (l *limited) tooLong() error { return fmt.Errorf("it has more than %d bytes%s", l.most, l.key) }

func (l *limited) Read(into []byte) (int, error) {
	if l.left < 0 {
		return 0, l.tooLong()
	}
	if int64(len(into)) > l.left+1 {
		into = into[:l.left+1]
	}
	n, err := l.ReadCloser.Read(into)
	l.left -= int64(n)
	if l.left < 0 {
		return n, l.tooLong()
	}
	return n, err
}

// within bounds content.
func within(c Content, most int64) (Content, error) {
	if c.Size > most {
		_ = c.Close()
		return Content{}, fmt.Errorf("it has %d bytes, more than %d (artifacts.maxBytes)", c.Size, most)
	}
	c.ReadCloser = &limited{c.ReadCloser, most, most, " (artifacts.maxBytes)"}
	return c, nil
}

// bounded is a fetcher whose contents have a limit.
type bounded struct {
	fetcher
	most int64
}

func (b bounded) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	c, err := b.fetcher.fetch(ctx, a)
	if err != nil {
		return c, err
	}
	return within(c, b.most)
}
