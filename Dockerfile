# The image of Go Clouddriver: one static program, run as any user on a
# read-only root file system. What it writes is in /var/lib/clouddriver, where
# the SQLite file is, and in /tmp.

# GO_IMAGE builds, and has Go and the trusted authorities. BASE_IMAGE is what the
# program is put on: scratch, or an image with the credential plugins that
# kubeconfigs call.
ARG GO_IMAGE=golang:1.26
ARG BASE_IMAGE=scratch

# The build runs on the machine as it is, for whatever platform is asked for.
FROM --platform=${BUILDPLATFORM:-linux/amd64} ${GO_IMAGE} AS build
WORKDIR /src
ENV CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-buildvcs=false
# Only what the program is made of is downloaded, with the build: go.mod has the
# tests' modules, too.
COPY go.mod go.sum ./
COPY localkube/go.mod localkube/go.sum localkube/
COPY cmd cmd
COPY pkg pkg
COPY migrations migrations
ARG VERSION=unknown
ARG TARGETOS=linux
ARG TARGETARCH
RUN GOOS=${TARGETOS} GOARCH=${TARGETARCH} go build -trimpath -ldflags "-s -w -X main.release=${VERSION}" -o /root-fs/clouddriver ./cmd/clouddriver
RUN mkdir -p /root-fs/etc/ssl/certs /root-fs/var/lib/clouddriver /root-fs/tmp \
 && chmod 1777 /root-fs/var/lib/clouddriver /root-fs/tmp \
 && cp /etc/ssl/certs/ca-certificates.crt /root-fs/etc/ssl/certs/

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Go Clouddriver" \
      org.opencontainers.image.description="Spinnaker's Clouddriver for Kubernetes: reads from memory, fed by watches" \
      org.opencontainers.image.source="https://github.com/datapunchorg/go-clouddriver" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /root-fs/ /
WORKDIR /var/lib/clouddriver
ENV HOME=/var/lib/clouddriver
USER 10111:10111
EXPOSE 7002
ENTRYPOINT ["/clouddriver"]
