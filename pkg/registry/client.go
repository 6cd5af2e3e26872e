package registry

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/datapunchorg/go-clouddriver/pkg/outgoing"
)

// ErrMissing is returned for what a registry has not.
var ErrMissing = errors.New("the registry has no such repository or tag")

// ErrInvalid is returned for names that no registry takes.
var ErrInvalid = errors.New("not the name of a repository")

// Bounds of what a registry may answer.
const (
	// mostMetadata is for one page, since some registries know no pages.
	mostMetadata = 64 << 20
	mostManifest = 4 << 20
	// mostLabels is for those of an image, which are held for as long as it has a tag.
	mostLabels = 64 << 10
	mostPages  = 100_000
	// mostTags is for one repository, mostRepositories for one account.
	mostTags         = 1_000_000
	mostRepositories = 100_000
)

const (
	connectWithin = 10 * time.Second
	// chartBegins is how long a chart may take to begin.
	chartBegins = 30 * time.Second
)

// userAgent is what Java's client is called, with our version in the place of its.
const userAgent = "Spinnaker/go-clouddriver"

// client reads one registry.
type client struct {
	account  *Account
	password *password
	wire     *transport
	cache    auth.Cache
	host     string
	// lists have a deadline for each request, and blobs have none: they are as
	// large as they are.
	lists, blobs *auth.Client
}

func newClient(a *Account, base *url.URL, fence func(netip.Addr) error) (*client, error) {
	r, err := remote.NewRegistry(base.Host)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	base.Host = r.Reference.Host() // Docker Hub's is not at docker.io
	c := &client{account: a, host: base.Host, password: &password{account: a.RegistryAccount, host: base.Host}, cache: auth.NewCache()}
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		allowed := elsewhere
		switch {
		case outgoing.IsProxy(address):
			allowed = nil
		case named(address, base.Hostname()):
			allowed = fence
		}
		return outgoing.Dialer(connectWithin, allowed).DialContext(ctx, network, address)
	}
	wire := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: dial, ForceAttemptHTTP2: true,
		TLSHandshakeTimeout: connectWithin, ResponseHeaderTimeout: max(chartBegins, a.timeout()), IdleConnTimeout: time.Minute,
		MaxIdleConnsPerHost: a.CacheThreads, DisableCompression: true, // the length of a manifest is read
	}
	if a.InsecureRegistry {
		wire.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the operator's own setting
	}
	c.wire = &transport{base: base, next: wire, refused: c.password.refused}
	c.lists, c.blobs = c.asking(a.timeout()), c.asking(0)
	return c, nil
}

func (c *client) asking(within time.Duration) *auth.Client {
	out := &auth.Client{Client: outgoing.Redirecting(c.wire, within), Cache: c.cache, Credential: c.password.credential}
	out.SetUserAgent(userAgent)
	return out
}

// named says whether an address, host:port, is on a host. Its token service may
// have another port.
func named(address, hostname string) bool {
	name, _, err := net.SplitHostPort(address)
	return err == nil && strings.EqualFold(name, hostname)
}

// elsewhere is where a registry may send us: not to this machine, and not to the
// link, where the metadata services of clouds are.
func elsewhere(ip netip.Addr) error {
	if outgoing.LinkLocal(ip) || outgoing.Local(ip, net.InterfaceAddrs) {
		return fmt.Errorf("the registry leads to %s, which is near", ip)
	}
	return nil
}

func (c *client) plain() bool { return c.wire.base.Scheme == "http" }

func (c *client) registry() (*remote.Registry, error) {
	r, err := remote.NewRegistry(c.host)
	if err != nil {
		return nil, err
	}
	r.Client, r.PlainHTTP, r.MaxMetadataBytes, r.RepositoryListPageSize = c.lists, c.plain(), mostMetadata, c.account.PaginateSize
	return r, nil
}

func (c *client) repository(name string) (*remote.Repository, error) {
	r := &remote.Repository{
		Client: c.lists, PlainHTTP: c.plain(), MaxMetadataBytes: mostMetadata,
		TagListPageSize: c.account.PaginateSize, TagListMaxPages: mostPages,
	}
	r.Reference.Registry, r.Reference.Repository = c.host, name
	if r.Reference.ValidateRepository() != nil {
		return nil, fmt.Errorf("%q: %w", name, ErrInvalid)
	}
	return r, nil
}

// prime has the credentials shown with the first request, as Java does: some
// registries show more to those whom they know.
func (c *client) prime(ctx context.Context) error {
	if c.password.anonymous() {
		return nil
	}
	if scheme, err := c.cache.GetScheme(ctx, c.host); err == nil && scheme == auth.SchemeBearer {
		return nil // its token is asked for anew when it is over
	}
	shown, err := c.password.credential(ctx, c.host)
	if err != nil || shown.Username == "" && shown.Password == "" { // an identity token is for token services
		return err
	}
	_, err = c.cache.Set(ctx, c.host, auth.SchemeBasic, "", func(context.Context) (string, error) {
		return base64.StdEncoding.EncodeToString([]byte(shown.Username + ":" + shown.Password)), nil
	})
	return err
}

// explained is an error as the operator needs it.
func (c *client) explained(err error) error {
	var answered *errcode.ErrorResponse
	var of *url.Error
	var led *outgoing.RefusedError
	ours := true // what the token service, or another machine, has not is not missing here
	if errors.As(err, &answered) {
		ours = c.wire.ours(answered.URL)
		shown := *answered.URL
		shown.User, shown.RawQuery = nil, "" // one that is signed is a secret
		answered.URL = &shown
		err = answered // what is around it has the address in its text
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errdef.ErrNotFound), ours && answered != nil && answered.StatusCode == http.StatusNotFound:
		return ErrMissing
	case answered != nil && answered.StatusCode == http.StatusTooManyRequests && c.wire.rest.err() != nil:
		return c.wire.rest.err()
	case refusedUs(err):
		text := "the registry does not accept the credentials of the account"
		if c.password.padded() {
			text += "; its password begins or ends with white space"
		}
		return &denial{text, err}
	case errors.As(err, &of) && errors.As(of.Err, &led):
		return of.Err // the address stands in the settings, and may have a token
	case errors.As(err, &of):
		return &silence{of.Err}
	}
	return err
}

// silence is a request without an answer.
type silence struct{ err error }

func (s *silence) Error() string { return s.err.Error() }

func (s *silence) Unwrap() error { return s.err }

// denial is the answer to credentials that are no good.
type denial struct {
	text string
	err  error
}

func (d *denial) Error() string { return d.text + ": " + d.err.Error() }

func (d *denial) Unwrap() error { return d.err }

func refusedUs(err error) bool {
	var answered *errcode.ErrorResponse
	return errors.As(err, &answered) && (answered.StatusCode == http.StatusUnauthorized || answered.StatusCode == http.StatusForbidden) || errors.Is(err, auth.ErrBasicCredentialNotFound)
}

// ping says whether the registry takes the credentials.
func (c *client) ping(ctx context.Context) error {
	if err := c.prime(ctx); err != nil {
		return err
	}
	r, err := c.registry()
	if err != nil {
		return err
	}
	return c.explained(r.Ping(ctx))
}

// catalog lists the repositories of the registry.
func (c *client) catalog(ctx context.Context) ([]string, error) {
	if err := c.prime(ctx); err != nil {
		return nil, err
	}
	r, err := c.registry()
	if err != nil {
		return nil, err
	}
	var out []string
	err = r.Repositories(withPages(ctx, mostPages), "", func(page []string) error {
		out = append(out, page...)
		if len(out) > mostRepositories {
			return fmt.Errorf("the catalog has more than %d repositories: name those that are wanted in repositories", mostRepositories)
		}
		return nil
	})
	return out, c.explained(err)
}

// tags lists those of a repository.
func (c *client) tags(ctx context.Context, repository string) ([]string, error) {
	if err := c.prime(ctx); err != nil {
		return nil, err
	}
	r, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	var out []string
	err = r.Tags(withPages(ctx, mostPages), "", func(page []string) error {
		for _, tag := range page {
			if tag != "" {
				out = append(out, tag)
			}
		}
		if len(out) > mostTags {
			return fmt.Errorf("it has more than %d tags", mostTags)
		}
		return nil
	})
	return out, c.explained(err)
}

// digest is what a pull by tag gets.
func (c *client) digest(ctx context.Context, repository, tag string) (string, error) {
	d, err := c.resolve(ctx, repository, tag)
	return d.Digest.String(), err
}

// resolve asks by HEAD, and where that is not answered by GET.
func (c *client) resolve(ctx context.Context, repository, reference string) (ocispec.Descriptor, error) {
	if err := c.prime(ctx); err != nil {
		return ocispec.Descriptor{}, err
	}
	r, err := c.repository(repository)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	r.MaxMetadataBytes = mostManifest
	d, err := r.Resolve(ctx, reference)
	var resting *errResting
	if err == nil || errors.Is(err, errdef.ErrNotFound) || errors.As(err, &resting) || refusedUs(err) || ctx.Err() != nil {
		return d, c.explained(err)
	}
	d, body, err := r.FetchReference(ctx, reference)
	if err != nil {
		return d, c.explained(err)
	}
	return d, body.Close()
}

// manifest is what is read of one, whatever its kind.
type manifest struct {
	MediaType   string               `json:"mediaType"`
	Config      ocispec.Descriptor   `json:"config"`
	Layers      []ocispec.Descriptor `json:"layers"`
	Manifests   []ocispec.Descriptor `json:"manifests"`
	Annotations map[string]string    `json:"annotations"`
}

// read fetches content by its digest, and checks it.
func read(ctx context.Context, r *remote.Repository, d ocispec.Descriptor, into any) error {
	if d.Size > mostManifest {
		return &unreadable{fmt.Errorf("%s has %d bytes, more than %d", d.Digest, d.Size, mostManifest)}
	}
	body, err := content.FetchAll(ctx, r, d)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return &unreadable{fmt.Errorf("%s: %w", d.Digest, err)}
	}
	return nil
}

// unreadable is content that is what its digest says, and of no use: it will never
// be of any.
type unreadable struct{ err error }

func (u *unreadable) Error() string { return u.err.Error() }

func (u *unreadable) Unwrap() error { return u.err }

// manifestOf reads the manifest of a descriptor; of an index, that of its first
// image.
func manifestOf(ctx context.Context, r *remote.Repository, d ocispec.Descriptor) (manifest, error) {
	var m manifest
	err := read(ctx, r, d, &m)
	if err != nil || len(m.Manifests) == 0 {
		return m, err
	}
	var image manifest
	return image, read(ctx, r, m.Manifests[0], &image)
}

// image looks into what a digest stands for. There is an image beside an error where
// looking again would find no more.
func (c *client) image(ctx context.Context, repository, digest string) (*Image, error) {
	d, err := c.resolve(ctx, repository, digest)
	if err != nil {
		return nil, err
	}
	r, err := c.repository(repository)
	if err != nil {
		return nil, err
	}
	var never *unreadable
	m, err := manifestOf(ctx, r, d)
	if errors.As(err, &never) {
		return &Image{}, err
	}
	if err != nil {
		return nil, c.explained(err)
	}
	var config struct {
		Created time.Time
		Config  struct{ Labels map[string]string }
	}
	if m.Config.Size > 0 {
		err := read(ctx, r, m.Config, &config)
		if errors.As(err, &never) {
			return &Image{}, err
		}
		if err != nil {
			return nil, c.explained(err)
		}
	}
	if config.Created.IsZero() { // as charts have it
		config.Created, _ = time.Parse(time.RFC3339, m.Annotations[ocispec.AnnotationCreated])
	}
	size := 0
	for name, value := range config.Config.Labels {
		size += len(name) + len(value)
	}
	if size > mostLabels {
		return &Image{Created: config.Created}, fmt.Errorf("its labels have %d bytes, more than %d", size, mostLabels)
	}
	if size == 0 {
		config.Config.Labels = nil // as it comes back from the database
	}
	return &Image{Created: config.Created, Labels: config.Config.Labels}, nil
}

// chartLayer is the media type of a chart in a registry (helm.sh/helm/v3,
// pkg/registry).
const chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

// Layer is the content of a chart.
type Layer struct {
	// SHA256 is its digest in hex.
	SHA256 string
	Size   int64 // bytes
	open   func(ctx context.Context) (io.ReadCloser, error)
}

// Open fetches it. Nobody has looked yet whether it is what its digest says.
func (l Layer) Open(ctx context.Context) (io.ReadCloser, error) { return l.open(ctx) }

// Chart finds the archive of a chart by its tag or digest.
func (a *Account) Chart(ctx context.Context, repository, reference string) (Layer, error) {
	c := a.client
	d, err := c.resolve(ctx, repository, reference)
	if err != nil {
		return Layer{}, err
	}
	r, err := c.repository(repository)
	if err != nil {
		return Layer{}, err
	}
	m, err := manifestOf(ctx, r, d)
	if err != nil {
		return Layer{}, c.explained(err)
	}
	if len(m.Layers) == 0 {
		return Layer{}, fmt.Errorf("%s:%s is no chart: its manifest has no layers", repository, reference)
	}
	layer := m.Layers[0]
	for _, l := range m.Layers {
		if l.MediaType == chartLayer {
			layer = l
			break
		}
	}
	if layer.Digest.Validate() != nil || layer.Digest.Algorithm() != digest.SHA256 {
		return Layer{}, fmt.Errorf("%s:%s has the digest %q, which is none of SHA-256", repository, reference, layer.Digest)
	}
	r.Client = c.blobs
	return Layer{layer.Digest.Encoded(), layer.Size, func(ctx context.Context) (io.ReadCloser, error) {
		body, err := r.Blobs().Fetch(ctx, layer)
		return body, c.explained(err)
	}}, nil
}

// Tags are those of a repository, in the registry's order, asked for now.
func (a *Account) Tags(ctx context.Context, repository string) ([]string, error) {
	return a.client.tags(ctx, repository)
}

// tagOrDigest is what can stand behind the name of a repository.
var tagOrDigest = regexp.MustCompile(`^(?:[\w][\w.-]{0,127}|[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[0-9a-fA-F]{32,})$`)

// Valid says whether a text is a tag or a digest.
func Valid(reference string) bool { return tagOrDigest.MatchString(reference) }
