package cluster

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestDiskCache_ReadsOnlyWhatIsWhole(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	d := newDiskCache(dir, "https://one")
	if d.load() != nil {
		t.Error("a file that is not there has kinds")
	}
	kinds := []Resource{{Version: "v1", Plural: "pods", Kind: "Pod", Namespaced: true, Watchable: true}}
	if err := d.save(kinds); err != nil {
		t.Fatal(err)
	}
	if got := newDiskCache(dir, "https://one").load(); !reflect.DeepEqual(got, kinds) {
		t.Errorf("read back %v", got)
	}
	if newDiskCache(dir, "https://two").load() != nil {
		t.Error("two identities share a file")
	}
	whole, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty": "", "cut": string(whole[:len(whole)/2]), "not JSON": "\x00\x01", "another format": `{"format":99,"resources":[]}`,
		"nameless": `{"format":1,"resources":[{"Version":"v1"}]}`, "wrong type": `{"format":1,"resources":"x"}`,
	} {
		if err := os.WriteFile(d.path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := d.load(); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "new-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
