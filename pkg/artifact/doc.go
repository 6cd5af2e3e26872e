// Package artifact fetches what pipelines name: manifests, charts, and files that
// live in Git, in object stores, on web servers and in Helm repositories
// (artifacts.md; spinnaker/clouddriver, clouddriver-artifacts).
//
// An account is a name with the types that it fetches. What it fetches is streamed:
// nothing here holds a whole file, but for what is decoded of a request.
package artifact
