package secret

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"

	"github.com/datapunchorg/go-clouddriver/pkg/cluster"
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
	client, err := cluster.New(c, cluster.Options{RequestTimeout: secretWithin})
	if err != nil {
		return "", fmt.Errorf("the cluster that this runs in: %w", err)
	}
	defer client.Close()
	found, err := client.Get(ctx, secrets, namespace, name)
	if err != nil {
		return "", fmt.Errorf("the Secret %s/%s cannot be read: %w", namespace, name, err)
	}
	encoded, ok, _ := unstructured.NestedString(found.Object, "data", key)
	if !ok {
		return "", fmt.Errorf("the Secret %s/%s has no key %s", namespace, name, key)
	}
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return "", errors.New("the cluster's answer is no Secret")
	}
	return string(text), nil
}

var secrets = cluster.Resource{Version: "v1", Plural: "secrets", Kind: "Secret", Namespaced: true}
