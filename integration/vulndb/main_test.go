package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestWrite_IsTheLayoutThatGovulncheckReads(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	report := `{"id":"GO-2026-0001","modified":"2026-01-02T03:04:05Z","aliases":["CVE-1"],"affected":[{"package":{"name":"example.com/m"},"ranges":[{"events":[{"introduced":"0"},{"fixed":"1.2.3"}]}]},{"package":{"name":"stdlib"}}]}`
	if err := save([]byte(report), from, filepath.Join("data", "osv"), "GO-2026-0001.json"); err != nil {
		t.Fatal(err)
	}
	if err := write(from, to); err != nil {
		t.Fatal(err)
	}
	var modules []module
	content, err := os.ReadFile(filepath.Join(to, "index", "modules.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, &modules); err != nil || len(modules) != 2 || modules[0].Path != "example.com/m" || modules[0].Vulns[0].Fixed != "1.2.3" || modules[1].Vulns[0].Fixed != "" {
		t.Errorf("%+v, %v", modules, err)
	}
	if kept, err := os.ReadFile(filepath.Join(to, "ID", "GO-2026-0001.json")); err != nil || string(kept) != report {
		t.Errorf("%s, %v", kept, err)
	}
	if write(t.TempDir(), to) == nil {
		t.Error("a folder without reports is taken")
	}
}
