// Package registry lists what Docker registries have: the tags of images and
// charts, which start pipelines and are offered in forms (docker-registry.md;
// spinnaker/clouddriver, clouddriver-docker).
//
// One replica polls a registry, by a lease. What it has found is kept in SQL and in
// the memory of every replica: readers ask no registry. What a registry does not
// answer stays as it was known.
package registry
