package localkube

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
)

// fingerprint returns the Kubernetes version that the module in dir pins and
// a short hash of everything that decides what it builds.
func fingerprint(dir string) (version, key string, err error) {
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return "", "", fmt.Errorf("read %s: %w", dir, err)
	}
	sort.Strings(files)
	sum := sha256.New()
	fmt.Fprintln(sum, runtime.Version(), runtime.GOARCH)
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return "", "", fmt.Errorf("read the control plane's source: %w", err)
		}
		fmt.Fprintln(sum, filepath.Base(file), len(content))
		sum.Write(content)
		if filepath.Base(file) == "go.mod" {
			if m := kubernetesVersion.FindSubmatch(content); m != nil {
				version = string(m[1])
			}
		}
	}
	if version == "" {
		return "", "", fmt.Errorf("no k8s.io/kubernetes version in %s/go.mod; is the source of localkube at hand?", dir)
	}
	return version, hex.EncodeToString(sum.Sum(nil))[:12], nil
}
