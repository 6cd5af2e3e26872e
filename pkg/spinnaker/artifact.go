package spinnaker

import (
	"fmt"
	"strconv"
	"strings"
)

// Artifact is a thing that a pipeline hands on (artifacts.md 1; spinnaker/kork,
// Artifact). null counts as absent in every field.
type Artifact struct {
	CustomKind      bool           `json:"customKind"`
	Type            string         `json:"type"`
	Name            string         `json:"name"`
	Location        string         `json:"location,omitempty"`
	Version         string         `json:"version,omitempty"`
	Reference       string         `json:"reference"`
	ArtifactAccount string         `json:"artifactAccount,omitempty"`
	Provenance      string         `json:"provenance,omitempty"`
	UUID            string         `json:"uuid,omitempty"`
	Metadata        map[string]any `json:"metadata"`
}

// ArtifactKey is what makes two artifacts the same for binding.
type ArtifactKey struct{ Type, Name, Location string }

// Key identifies the artifact among the candidates of a deploy.
func (a Artifact) Key() ArtifactKey { return ArtifactKey{a.Type, a.Name, a.Location} }

// Account is the Kubernetes account that made the artifact, "" for any.
func (a Artifact) Account() string {
	account, _ := a.Metadata["account"].(string)
	return account
}

// KubernetesArtifactPrefix begins the types of artifacts that are objects.
const KubernetesArtifactPrefix = "kubernetes/"

// DockerImage is the type of images.
const DockerImage = "docker/image"

// Annotations and labels that a deploy writes (operations.md 3.3, 3.5;
// spinnaker/clouddriver, KubernetesManifestAnnotater and Labeler).
const (
	AnnotationArtifactType     = "artifact.spinnaker.io/type"
	AnnotationArtifactName     = "artifact.spinnaker.io/name"
	AnnotationArtifactLocation = "artifact.spinnaker.io/location"
	AnnotationArtifactVersion  = "artifact.spinnaker.io/version"

	AnnotationVersioned      = "strategy.spinnaker.io/versioned"
	AnnotationRecreate       = "strategy.spinnaker.io/recreate"
	AnnotationReplace        = "strategy.spinnaker.io/replace"
	AnnotationServerApply    = "strategy.spinnaker.io/server-side-apply"
	AnnotationSourceCapacity = "strategy.spinnaker.io/use-source-capacity"
	AnnotationMaxHistory     = "strategy.spinnaker.io/max-version-history"

	LabelName     = "app.kubernetes.io/name"
	LabelSequence = "moniker.spinnaker.io/sequence"
)

// ParseVersion reads v000, v1000: ok is false for anything but v and a
// number.
func ParseVersion(text string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(text, "v")
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil
}

// VersionText is the version as it ends a name: v003.
func VersionText(n int) string { return fmt.Sprintf("v%03d", n) }

// ImageName is an image reference without its tag and digest. A colon before a
// slash is that of a registry's port.
func ImageName(reference string) string {
	if name, _, ok := strings.Cut(reference, "@"); ok {
		return name
	}
	if i := strings.LastIndexByte(reference, ':'); i >= 0 && !strings.Contains(reference[i:], "/") {
		return reference[:i]
	}
	return reference
}
