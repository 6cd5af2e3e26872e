package kubetest_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/datapunchorg/go-clouddriver/localkube"
	"github.com/datapunchorg/go-clouddriver/localkube/kubetest"
)

var pool kubetest.Pool

func TestMain(m *testing.M) { os.Exit(pool.Main(m)) }

func TestStart_GivesAReadyControlPlaneOfThePinnedVersion(t *testing.T) {
	begin := time.Now()
	c := pool.Private(t, localkube.Options{Name: "first"})
	t.Logf("ready after %s", time.Since(begin).Round(time.Millisecond))
	req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, c.URL+"/version", nil)
	req.Header.Set("Authorization", "Bearer "+c.Token)
	res, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var v struct{ GitVersion string }
	if err := json.NewDecoder(res.Body).Decode(&v); err != nil {
		t.Fatal(err)
	}
	if v.GitVersion != c.Version {
		t.Errorf("the API server says %s, built as %s", v.GitVersion, c.Version)
	}
	if err := c.Compact(context.Background()); err != nil {
		t.Error(err)
	}
}
