package artifact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// s3 is a bucket of S3, or of what speaks its protocol (artifacts.md 5.5).
type s3 struct {
	account config.ArtifactAccount
	client  func(context.Context) (*awss3.Client, error)
}

func newS3(c config.ArtifactAccount) s3 {
	of := bucketOf{region: c.Region, key: c.AWSAccessKeyID, secret: c.AWSSecretAccessKey}
	if c.APIEndpoint != "" {
		of.region, of.endpoint, of.pathStyle = c.APIRegion, c.APIEndpoint, true
	}
	return s3{c, of.client()}
}

// bucketOf is how a store of S3's kind is reached. What is not said is AWS's own
// chain of settings.
type bucketOf struct {
	profile, region, endpoint, key, secret string
	pathStyle                              bool
}

func (c bucketOf) client() func(context.Context) (*awss3.Client, error) {
	return once(func(ctx context.Context) (*awss3.Client, error) {
		var options []func(*awsconfig.LoadOptions) error
		if c.profile != "" {
			options = append(options, awsconfig.WithSharedConfigProfile(c.profile))
		}
		if c.region != "" {
			options = append(options, awsconfig.WithRegion(c.region))
		}
		if c.key != "" && c.secret != "" {
			options = append(options, awsconfig.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(c.key, c.secret, "")))
		}
		loaded, err := awsconfig.LoadDefaultConfig(ctx, options...)
		if err != nil {
			return nil, fmt.Errorf("the settings of AWS: %w", err)
		}
		return awss3.NewFromConfig(loaded, func(o *awss3.Options) {
			o.DisableLogOutputChecksumValidationSkipped = true // older stores have no checksums
			o.UsePathStyle = c.pathStyle
			if c.endpoint != "" {
				o.BaseEndpoint = aws.String(c.endpoint)
			}
		}), nil
	})
}

// once makes something at its first use, and tries again where that fails.
func once[T any](create func(context.Context) (T, error)) func(context.Context) (T, error) {
	var mu sync.Mutex
	var made T
	done := false
	return func(ctx context.Context) (T, error) {
		mu.Lock()
		defer mu.Unlock()
		if done {
			return made, nil
		}
		var err error
		if made, err = create(context.WithoutCancel(ctx)); err == nil {
			done = true
		}
		return made, err
	}
}

func (s s3) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	bucket, key, ok := strings.Cut(strings.TrimPrefix(a.Reference, "s3://"), "/")
	if !ok || bucket == "" || key == "" {
		return Content{}, refused("S3 references must be of the format s3://<bucket>/<file-path>, got: %s", a.Reference)
	}
	client, err := s.client(ctx)
	if err != nil {
		return Content{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	got, err := client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		cancel(nil)
		var none *types.NoSuchKey
		if errors.As(err, &none) {
			return Content{}, missing("s3://%s/%s not found", bucket, key)
		}
		return Content{}, err
	}
	return Content{newGuard(got.Body, cancel), sizeOf(got.ContentLength)}, nil
}

func sizeOf(length *int64) int64 {
	if length == nil {
		return -1
	}
	return *length
}

// gcs is a bucket of Google Cloud Storage (artifacts.md 5.4).
type gcs struct {
	client func(context.Context) (*storage.Service, error)
}

func newGCS(c config.ArtifactAccount) gcs {
	return gcs{once(func(ctx context.Context) (*storage.Service, error) {
		options := []option.ClientOption{option.WithScopes(storage.DevstorageReadOnlyScope)}
		if c.JSONPath != "" {
			options = append(options, option.WithAuthCredentialsFile(option.ServiceAccount, c.JSONPath))
		}
		if c.APIEndpoint != "" { // of a server that plays Google's
			options = append(options, option.WithEndpoint(strings.TrimSuffix(c.APIEndpoint, "/")+"/storage/v1/"))
			if c.JSONPath == "" {
				options = append(options, option.WithoutAuthentication())
			}
		}
		service, err := storage.NewService(ctx, options...)
		if err != nil {
			return nil, fmt.Errorf("the credentials of Google Cloud: %w", err)
		}
		return service, nil
	})}
}

func (g gcs) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	bucket, path, ok := strings.Cut(strings.TrimPrefix(a.Reference, "gs://"), "/")
	if !ok || bucket == "" || path == "" {
		return Content{}, refused("GCS references must be of the format gs://<bucket>/<file-path>, got: %s", a.Reference)
	}
	generation := int64(0)
	if at := strings.LastIndex(path, "#"); at >= 0 {
		var err error
		if generation, err = strconv.ParseInt(path[at+1:], 10, 64); err != nil {
			return Content{}, refused("gcs/object generation values must be numeric, got: %s", path[at+1:])
		}
		path = path[:at]
	}
	service, err := g.client(ctx)
	if err != nil {
		return Content{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	call := service.Objects.Get(bucket, path).Context(ctx)
	if generation != 0 {
		call = call.Generation(generation)
	}
	res, err := call.Download() //nolint:bodyclose // the reader of the content closes it
	if err != nil {
		cancel(nil)
		var of *googleapi.Error
		if errors.As(err, &of) {
			if of.Code == http.StatusNotFound {
				return Content{}, fmt.Errorf("there is no object gs://%s/%s", bucket, path)
			}
			return Content{}, fmt.Errorf("Received %d status code from Google Cloud Storage", of.Code) //nolint:staticcheck // Java's text
		}
		return Content{}, plain(err)
	}
	return Content{newGuard(res.Body, cancel), res.ContentLength}, nil
}
