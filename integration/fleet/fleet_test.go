package fleet

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func started(t *testing.T, clusters int) (*Fleet, *http.Client) {
	t.Helper()
	f, err := Start(Options{Clusters: clusters, Applications: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.pem)
	return f, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "fleet"}, ForceAttemptHTTP2: true}}
}

func ask(t *testing.T, client *http.Client, address string, into any) {
	t.Helper()
	res, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatal(address, err)
	}
}

type list struct {
	Metadata struct{ ResourceVersion, Continue string }
	Items    []struct {
		Metadata struct {
			Name, Namespace, UID, ResourceVersion string
			Labels                                map[string]string
		}
	}
}

func TestObjects_AreJSONAndNoTwoAreTheSame(t *testing.T) {
	f, client := started(t, 2)
	uids, all := map[string]bool{}, 0
	for _, c := range f.Clusters() {
		for _, k := range kinds[:watched] {
			var of list
			ask(t, client, c.Server()+k.root()+"/"+k.plural, &of)
			names := map[string]bool{}
			for _, item := range of.Items {
				names[item.Metadata.Namespace+"/"+item.Metadata.Name], uids[item.Metadata.UID] = true, true
			}
			if len(names) != len(of.Items) || len(names) == 0 {
				t.Errorf("%s: %d names of %d", k.plural, len(names), len(of.Items))
			}
			all += len(of.Items)
		}
	}
	if len(uids) != all || all != 2*f.Options().Objects() {
		t.Errorf("%d objects, %d of them different, %d expected", all, len(uids), 2*f.Options().Objects())
	}
}

func TestList_GoesOnPageByPageAndSelects(t *testing.T) {
	f, client := started(t, 1)
	at := f.Clusters()[0].Server() + "/api/v1/pods"
	seen, next := 0, ""
	for {
		var of list
		ask(t, client, at+"?limit=7&continue="+next, &of)
		seen += len(of.Items)
		if next = of.Metadata.Continue; next == "" {
			break
		}
	}
	if seen != 66 {
		t.Errorf("%d pods in pages", seen)
	}
	for selector, want := range map[string]int{
		managedBy + "=spinnaker": 66, managedBy + "!=spinnaker": 0, managedBy + "+in+(x,spinnaker),app": 66, "!app": 0, "app+notin+(x)": 66, managedBy + "+in+(spinnaker,spinnaker-x)": 66, "app=none": 0,
	} {
		var of list
		ask(t, client, at+"?labelSelector="+selector, &of)
		if len(of.Items) != want {
			t.Errorf("%s: %d", selector, len(of.Items))
		}
	}
}

// lines reads a watch until a line has a text.
func lines(t *testing.T, client *http.Client, address, until string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	var out []string
	lines := bufio.NewReader(res.Body)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("%d lines, and then %v", len(out), err)
		}
		if out = append(out, line); strings.Contains(line, until) {
			return out
		}
	}
}

func TestWatch_BeginsWithWhatThereIsAndGoesOnFromAVersion(t *testing.T) {
	f, client := started(t, 1)
	c := f.Clusters()[0]
	at := c.Server() + "/apis/apps/v1/deployments?watch=true"
	if got := lines(t, client, at+"&sendInitialEvents=true", "initial-events-end"); len(got) != 4 || !strings.HasPrefix(got[0], `{"type":"ADDED","object":{"kind":"Deployment","apiVersion":"apps/v1",`) {
		t.Errorf("%d: %.200s", len(got), got[0])
	}
	o := c.change(deployments, 1)
	got := lines(t, client, fmt.Sprintf("%s&resourceVersion=%d", at, firstVersion), "MODIFIED")
	if len(got) != 1 || !strings.Contains(got[0], o.uid()) {
		t.Errorf("%.300s", got)
	}
	c.Compact()
	if got := lines(t, client, fmt.Sprintf("%s&resourceVersion=%d", at, firstVersion), "ERROR"); !strings.Contains(got[0], `"code":410`) {
		t.Errorf("%.300s", got)
	}
}

func TestModes_AreThoseOfOneCluster(t *testing.T) {
	f, client := started(t, 5)
	client.Timeout = 2 * time.Second
	for number, mode := range []Mode{Well, Hangs, BlackHoled, Refused, Slow} {
		f.Clusters()[number].Set(mode)
	}
	for number, want := range []string{"", "deadline", "imeout", "refused|reset", ""} {
		res, err := client.Get(f.Clusters()[number].Server() + "/api/v1/pods")
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		switch {
		case want == "" && err != nil:
			t.Errorf("%d: %v", number, err)
		case want != "" && (err == nil || !anyOf(err.Error(), want)):
			t.Errorf("%d: %v", number, err)
		}
	}
}

func anyOf(text, alternatives string) bool {
	for alternative := range strings.SplitSeq(alternatives, "|") {
		if strings.Contains(text, alternative) {
			return true
		}
	}
	return false
}
