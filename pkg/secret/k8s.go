package secret

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"k8s.io/client-go/rest"
)

// namespaceFile is where a pod finds its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Kubernetes reads Secrets of the cluster that the service runs in: n is the
// name, k the key, ns the namespace, which is the pod's when it is left out.
func Kubernetes(config func() (*rest.Config, error)) Engine {
	return EngineFunc(func(ctx context.Context, of map[string]string) (string, error) {
		name, key := strings.ToLower(of["n"]), of["k"]
		if name == "" || key == "" {
			return "", errors.New("n, the Secret's name, and k, the key in it, must be given")
		}
		namespace := of["ns"]
		if namespace == "" {
			namespace = ownNamespace()
		}
		for _, segment := range []string{name, namespace} {
			if strings.ContainsAny(segment, "/%?#") || segment == "." || segment == ".." {
				return "", errors.New("n and ns must be names")
			}
		}
		c, err := config()
		if err != nil {
			return "", fmt.Errorf("the cluster that this runs in: %w", err)
		}
		return readSecret(ctx, c, namespace, name, key)
	})
}

func ownNamespace() string {
	content, err := os.ReadFile(namespaceFile)
	if err != nil || len(content) == 0 {
		return "default"
	}
	return strings.TrimSpace(string(content))
}

// secretWithin is the deadline of reading one.
const secretWithin = 10 * time.Second

func readSecret(ctx context.Context, c *rest.Config, namespace, name, key string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, secretWithin)
	defer cancel()
	client, err := rest.HTTPClientFor(c)
	if err != nil {
		return "", errors.New("the credentials of the pod cannot be used")
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	defer client.CloseIdleConnections()
	base, _, err := rest.DefaultServerUrlFor(c)
	if err != nil {
		return "", errors.New("the address of the cluster cannot be used")
	}
	at := base.JoinPath("api/v1/namespaces", url.PathEscape(namespace), "secrets", url.PathEscape(name))
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return "", errors.New("the address of the cluster cannot be used")
	}
	res, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("ask the cluster: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the Secret %s/%s cannot be read: the cluster answers %d", namespace, name, res.StatusCode)
	}
	var found struct{ Data map[string]string }
	const most = 4 << 20
	if err := json.NewDecoder(io.LimitReader(res.Body, most)).Decode(&found); err != nil {
		return "", errors.New("the cluster's answer is no Secret")
	}
	encoded, ok := found.Data[key]
	if !ok {
		return "", fmt.Errorf("the Secret %s/%s has no key %s", namespace, name, key)
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", errors.New("the cluster's answer is no Secret")
	}
	return string(text), nil
}
