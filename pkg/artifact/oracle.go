package artifact

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/oracle/oci-go-sdk/v65/common"

	"github.com/datapunchorg/go-clouddriver/pkg/config"
	"github.com/datapunchorg/go-clouddriver/pkg/spinnaker"
)

// oracle is a bucket of Oracle's object storage (artifacts.md 5.15).
type oracle struct {
	web     *web
	account config.ArtifactAccount
	base    string
}

func (b *builder) oracle(c config.ArtifactAccount) (fetcher, error) {
	for _, of := range []struct{ key, value string }{
		{"namespace", c.Namespace}, {"region", c.Region}, {"userId", c.UserID}, {"fingerprint", c.Fingerprint}, {"sshPrivateKeyFilePath", c.SSHPrivateKeyFilePath}, {"tenancyId", c.TenancyID},
	} {
		if of.value == "" {
			return nil, fmt.Errorf("%s: must be given", of.key)
		}
	}
	base := c.APIEndpoint
	if base == "" {
		base = "https://objectstorage." + c.Region + ".oraclecloud.com"
	}
	rules, err := configured(c.Name, base)
	if err != nil {
		return nil, fmt.Errorf("region: %w", err)
	}
	return oracle{newWeb(rules, base), c, strings.TrimSuffix(base, "/")}, nil
}

func (o oracle) fetch(ctx context.Context, a spinnaker.Artifact) (Content, error) {
	bucket, path, ok := strings.Cut(strings.TrimPrefix(a.Reference, "oci://"), "/")
	path, version, _ := strings.Cut(path, "#")
	if !ok || bucket == "" || path == "" {
		return Content{}, refused("Oracle references must be of the format oci://<bucket>/<path>[#<version>], got: %s", a.Reference)
	}
	address := o.base + "/n/" + url.PathEscape(o.account.Namespace) + "/b/" + url.PathEscape(bucket) + "/o/" + url.PathEscape(path)
	if version != "" {
		address += "?versionId=" + url.QueryEscape(version)
	}
	show, err := o.signed(address)
	if err != nil {
		return Content{}, err
	}
	got, err := o.web.get(ctx, address, show)
	if err != nil {
		return Content{}, err
	}
	return got.Content, nil
}

// signed are the headers of a request that Oracle's cloud takes. The key is read anew
// each time, so that it can rotate.
func (o oracle) signed(address string) (http.Header, error) {
	key, err := readFile(o.account.SSHPrivateKeyFilePath)
	if err != nil {
		return nil, fmt.Errorf("sshPrivateKeyFilePath: %w", err)
	}
	var passphrase *string
	if o.account.PrivateKeyPassphrase != "" {
		passphrase = &o.account.PrivateKeyPassphrase
	}
	req, err := http.NewRequest(http.MethodGet, address, nil) //nolint:noctx // it is signed, not sent
	if err != nil {
		return nil, refused("Malformed URL (check artifact references): %s", address)
	}
	req.Header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	provider := common.NewRawConfigurationProvider(o.account.TenancyID, o.account.UserID, o.account.Region, o.account.Fingerprint, string(key), passphrase)
	if err := common.DefaultRequestSigner(provider).Sign(req); err != nil {
		return nil, errors.New("sshPrivateKeyFilePath: no request can be signed with it: it must be an RSA key in PEM, and its passphrase right")
	}
	return req.Header, nil
}
