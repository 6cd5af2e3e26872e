package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/datapunchorg/go-clouddriver/pkg/aside"
)

// diskCache is a file with what a cluster serves. It is only there to start
// sooner: whatever is wrong with it, the cluster is asked.
type diskCache struct{ path string }

// diskFormat is part of each file, so that another version's is not read.
const diskFormat = 2

type diskFile struct {
	Format    int        `json:"format"`
	Resources []Resource `json:"resources"`
}

func newDiskCache(dir, identity string) *diskCache {
	sum := sha256.Sum256([]byte(identity))
	return &diskCache{filepath.Join(dir, hex.EncodeToString(sum[:])+".json")}
}

// load returns nil for a file that is not there, or broken.
func (d *diskCache) load() []Resource {
	text, err := os.ReadFile(d.path)
	if err != nil {
		return nil
	}
	var f diskFile
	if json.Unmarshal(text, &f) != nil || f.Format != diskFormat {
		return nil
	}
	for _, r := range f.Resources {
		if r.Version == "" || r.Plural == "" || r.Kind == "" {
			return nil
		}
	}
	return f.Resources
}

// save replaces the file as a whole, so that a reader never sees half of one.
func (d *diskCache) save(resources []Resource) error {
	text, err := json.Marshal(diskFile{diskFormat, resources})
	if err != nil {
		return err
	}
	return aside.Write(d.path, text)
}
