package artifact

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/dgraph-io/ristretto/v2"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
)

// Store is where Orca keeps artifacts and manifests that it sends a reference of
// (artifacts.md 6). It is only read.
type Store struct {
	bucket string
	client func(context.Context) (*awss3.Client, error)
	kept   *ristretto.Cache[string, *stored]
}

// stored is an object, and the application whose readers may see it.
type stored struct {
	content     []byte
	application string
}

const (
	// mostStored bounds an object: Orca makes none of longer texts.
	mostStored = 64 << 20
	// mostKept bounds what is kept of the store. Objects never change.
	mostKept = 64 << 20
	// storeWithin is the deadline of reading one.
	storeWithin = 20 * time.Second
)

// NewStore makes one of the settings; nil where there is none.
func NewStore(c config.ArtifactStore) (*Store, error) {
	if !c.S3.Enabled {
		return nil, nil //nolint:nilnil // there is none
	}
	kept, err := ristretto.NewCache(&ristretto.Config[string, *stored]{NumCounters: 10_000, MaxCost: mostKept, BufferItems: 64}) //nolint:mnd // as its guide has it
	if err != nil {
		return nil, err
	}
	of := bucketOf{profile: c.S3.Profile, region: c.S3.Region, endpoint: c.S3.URL, key: c.S3.AccessKey, secret: c.S3.SecretKey, pathStyle: c.S3.PathStyle}
	return &Store{bucket: c.S3.Bucket, client: of.client(), kept: kept}, nil
}

// Close gives back what the store has taken.
func (s *Store) Close() { s.kept.Close() }

// referenceForm is ref://<application>/<hash of the base64 text>.
var referenceForm = regexp.MustCompile(`^ref://([^/\x00]+)/([0-9a-f]{64})$`)

// IsStored says whether a reference is one of the store.
func IsStored(reference string) bool { return strings.HasPrefix(reference, "ref://") }

// Reference is that of an application's object.
func Reference(application, hash string) string { return "ref://" + application + "/" + hash }

// Read reads what a reference stands for, for whoever may read the application that
// the object says it is of: may is asked each time, also for what is kept. take is
// asked for memory before it is used. The errors are those of this package, of may and
// of take.
func (s *Store) Read(ctx context.Context, reference string, may func(application string) error, take func(bytes int64) error) ([]byte, error) {
	parts := referenceForm.FindStringSubmatch(reference)
	if parts == nil {
		return nil, refused("%q is no reference of the artifact store, like ref://<application>/<hash>", reference)
	}
	key := parts[1] + "/" + parts[2]
	found, ok := s.kept.Get(key)
	if !ok {
		ctx, cancel := context.WithTimeout(ctx, storeWithin)
		defer cancel()
		application, err := s.tag(ctx, key)
		if err != nil {
			return nil, s.problem(reference, err)
		}
		// What the caller may not see is not loaded for them.
		if err := may(application); err != nil {
			return nil, err
		}
		content, err := s.object(ctx, key, parts[2], take)
		if err != nil {
			return nil, s.problem(reference, err)
		}
		s.kept.Set(key, &stored{content, application}, int64(len(content)))
		return content, nil
	}
	if err := may(found.application); err != nil {
		return nil, err
	}
	return found.content, nil
}

// tag is the application that an object says it is of.
func (s *Store) tag(ctx context.Context, key string) (string, error) {
	client, err := s.client(ctx)
	if err != nil {
		return "", err
	}
	got, err := client.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return "", err
	}
	for _, tag := range got.TagSet {
		if aws.ToString(tag.Key) == "application" && aws.ToString(tag.Value) != "" {
			return aws.ToString(tag.Value), nil
		}
	}
	return "", &problem{ErrForbidden, "the object does not say which application it is of, so that nobody may read it"}
}

// object reads one, and checks it.
func (s *Store) object(ctx context.Context, key, hash string, take func(bytes int64) error) ([]byte, error) {
	client, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	got, err := client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &s.bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	defer func() { _ = got.Body.Close() }()
	size := sizeOf(got.ContentLength)
	if size < 0 || size > mostStored {
		return nil, &problem{ErrRefused, fmt.Sprintf("it has %d bytes, more than %d", size, mostStored)}
	}
	if err := take(size); err != nil {
		return nil, &untaken{err}
	}
	content := make([]byte, size)
	_, err = io.ReadFull(got.Body, content)
	switch {
	case err != nil:
		return nil, err
	case !hashes(content, hash):
		return nil, &problem{ErrRefused, "what the artifact store has is not what the hash says"}
	}
	return content, nil
}

// untaken is the error of who was asked for memory.
type untaken struct{ error }

// hashes says whether a hash is that of the base64 text of content, which may have
// been written without its padding.
func hashes(content []byte, hash string) bool {
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding} {
		sum := sha256.New()
		w := base64.NewEncoder(encoding, sum)
		_, _ = w.Write(content) // a hash takes everything
		_ = w.Close()
		if hex.EncodeToString(sum.Sum(nil)) == hash {
			return true
		}
	}
	return false
}

// problem is the error of a reference that cannot be read.
func (s *Store) problem(reference string, err error) error {
	var p *problem
	var full *untaken
	if errors.As(err, &full) {
		return full.error
	}
	if errors.As(err, &p) {
		return &problem{p.kind, reference + ": " + p.text}
	}
	text := fmt.Sprintf("artifact failed to be retrieved: bucket=%s ref=%s", s.bucket, reference)
	var answered *awshttp.ResponseError
	if errors.As(err, &answered) {
		switch answered.HTTPStatusCode() {
		case http.StatusNotFound:
			return &problem{ErrMissing, text}
		case http.StatusForbidden:
			return &problem{ErrForbidden, text}
		}
	}
	return &problem{ErrDown, text + ": " + err.Error()}
}

// ContentOf is what was read, as a fetch of it.
func ContentOf(content []byte) Content {
	return Content{io.NopCloser(bytes.NewReader(content)), int64(len(content))}
}
