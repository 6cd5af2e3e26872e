package artifact

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/gitattributes"
	"github.com/go-git/go-git/v5/plumbing/object"
)

const (
	// mostFiles bounds an archive.
	mostFiles = 500_000
	fileMode  = 0o664
	runMode   = 0o775
)

// has says whether there is a file or folder at a path, before anything is sent.
func has(tree *object.Tree, subPath string) error {
	if _, err := tree.FindEntry(subPath); err != nil {
		return fmt.Errorf("pathspec '%s' did not match any files", subPath)
	}
	return nil
}

// survey looks at everything that an archive would have, before anything is sent.
func survey(ctx context.Context, tree *object.Tree, subPath string, most int64) error {
	files, left, seen := 0, most, map[string]bool{}
	return walk(ctx, tree, subPath, func(in *object.Tree, entry object.TreeEntry, name string) error {
		if files++; files > mostFiles {
			return refused("the repository has more than %d files", mostFiles)
		}
		if entry.Name == "" || entry.Name == "." || entry.Name == ".." || strings.ContainsAny(entry.Name, "/\\\x00") {
			return refused("the repository has a file whose name leads elsewhere, in %s", path.Dir(name))
		}
		if seen[name] {
			return refused("the repository has %s twice", name)
		}
		seen[name] = true
		switch entry.Mode {
		case filemode.Dir, filemode.Submodule:
			return nil
		case filemode.Symlink:
			_, err := linkOf(in, entry, name)
			return err
		case filemode.Regular, filemode.Deprecated, filemode.Executable:
			file, err := in.TreeEntryFile(&entry)
			if err != nil {
				return err
			}
			if left -= file.Size; left < 0 {
				return refused("the repository has more than %d bytes (artifacts.maxBytes)", most)
			}
			return nil
		}
		return refused("%s has a mode that is none of git's", name)
	})
}

// linkOf reads a symbolic link. One that leads out of the tree is refused: whoever
// unpacks the archive would follow it.
func linkOf(in *object.Tree, entry object.TreeEntry, name string) (string, error) {
	file, err := in.TreeEntryFile(&entry)
	if err != nil {
		return "", err
	}
	content, err := file.Reader()
	if err != nil {
		return "", err
	}
	defer func() { _ = content.Close() }()
	const most = 4096
	text, err := io.ReadAll(io.LimitReader(content, most))
	if err != nil {
		return "", err
	}
	target := string(text)
	to := path.Join(path.Dir(name), target)
	if len(target) == most || path.IsAbs(target) || climbsLater(target) || to == ".." || strings.HasPrefix(to, "../") {
		return "", refused("%s is a link that leads out of the repository", name)
	}
	return target, nil
}

// climbsLater says whether a target goes up after it has gone down, maybe through
// another link.
func climbsLater(target string) bool {
	down := false
	for segment := range strings.SplitSeq(target, "/") {
		if segment == ".." && down {
			return true
		}
		down = down || segment != ".." && segment != "." && segment != ""
	}
	return false
}

type visitor func(in *object.Tree, entry object.TreeEntry, name string) error

// walk visits what is below a path, "" for everything, and the folders above it, but
// for what git archive leaves out.
func walk(ctx context.Context, tree *object.Tree, subPath string, visit visitor) error {
	return walkBelow(ctx, tree, nil, "", subPath, visit)
}

// attributesFile is where a repository says what git archive leaves out.
const attributesFile = ".gitattributes"

// Bounds of it, since each file is held against each pattern.
const (
	mostAttributes = 64 << 10
	mostPatterns   = 1_000
)

// attributesOf adds what a folder says to what those above it have said.
func attributesOf(tree *object.Tree, at string, above []gitattributes.MatchAttribute) ([]gitattributes.MatchAttribute, error) {
	file, err := tree.File(attributesFile)
	if err != nil {
		return above, nil // there is none
	}
	content, err := file.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = content.Close() }()
	own, err := gitattributes.ReadAttributes(io.LimitReader(content, mostAttributes), segmentsOf(at), at == "")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path.Join(at, attributesFile), err)
	}
	if len(above)+len(own) > mostPatterns {
		return nil, refused("the repository has more than %d patterns in %s", mostPatterns, attributesFile)
	}
	return append(slices.Clip(above), own...), nil
}

func segmentsOf(name string) []string {
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

// leaves says of names whether git archive leaves them out.
func leaves(attributes []gitattributes.MatchAttribute) func(name string) bool {
	if len(attributes) == 0 {
		return func(string) bool { return false }
	}
	const ignore = "export-ignore"
	matcher := gitattributes.NewMatcher(attributes)
	return func(name string) bool {
		found, _ := matcher.Match(segmentsOf(name), []string{ignore})
		return found[ignore] != nil && found[ignore].IsSet()
	}
}

// walkBelow visits what is in the folder at a path; below are the segments that are
// still to be followed.
func walkBelow(ctx context.Context, tree *object.Tree, attributes []gitattributes.MatchAttribute, at, below string, visit visitor) error {
	attributes, err := attributesOf(tree, at, attributes)
	if err != nil {
		return err
	}
	leftOut := leaves(attributes)
	next, rest, _ := strings.Cut(below, "/")
	for _, entry := range tree.Entries {
		if next != "" && entry.Name != next {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name := path.Join(at, entry.Name)
		if leftOut(name) {
			continue
		}
		if err := visit(tree, entry, name); err != nil {
			return err
		}
		if entry.Mode != filemode.Dir {
			continue
		}
		folder, err := tree.Tree(entry.Name)
		if err != nil {
			return err
		}
		if err := walkBelow(ctx, folder, attributes, name, rest, visit); err != nil {
			return err
		}
	}
	return nil
}

// archive writes a tree as git archive does: names from the root of the repository
// without a folder before them, folders with a slash, the commit in front; of a sub
// path the folders above it, too.
func archive(ctx context.Context, to io.Writer, tree *object.Tree, commit plumbing.Hash, subPath string) error {
	zip := gzip.NewWriter(to)
	out := tar.NewWriter(zip)
	err := out.WriteHeader(&tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": commit.String()}})
	if err != nil {
		return err
	}
	err = walk(ctx, tree, subPath, func(in *object.Tree, entry object.TreeEntry, name string) error { return write(out, in, entry, name) })
	if err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return zip.Close()
}

func write(out *tar.Writer, in *object.Tree, entry object.TreeEntry, name string) error {
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: fileMode, Uname: "root", Gname: "root"}
	switch entry.Mode {
	case filemode.Dir, filemode.Submodule:
		header.Typeflag, header.Name, header.Mode = tar.TypeDir, name+"/", runMode
		return out.WriteHeader(header)
	case filemode.Symlink:
		target, err := linkOf(in, entry, name)
		if err != nil {
			return err
		}
		header.Typeflag, header.Linkname = tar.TypeSymlink, target
		return out.WriteHeader(header)
	case filemode.Executable:
		header.Mode = runMode
	}
	file, err := in.TreeEntryFile(&entry)
	if err != nil {
		return err
	}
	content, err := file.Reader()
	if err != nil {
		return err
	}
	defer func() { _ = content.Close() }()
	header.Size = file.Size
	if err := out.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return err
}
