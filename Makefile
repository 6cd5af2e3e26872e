# Everything that is built outside the tree is kept by version under the
# user's cache folder, so that it is built once per machine.
CACHE        := $(or $(LOCALKUBE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/localkube)
LINT_VERSION := v2.15.0
LINT         := $(CACHE)/tools/golangci-lint-$(LINT_VERSION)
MODULES      := . localkube

.DEFAULT_GOAL := help
# Images: where they go, and what they are built from and on.
IMAGE        ?= ghcr.io/datapunchorg/go-clouddriver
VERSION      ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PLATFORMS    ?= linux/amd64,linux/arm64
IMAGE_ARGS    = --build-arg VERSION=$(VERSION) --build-arg REVISION=$(shell git rev-parse HEAD 2>/dev/null || echo unknown) \
                $(if $(GO_IMAGE),--build-arg GO_IMAGE=$(GO_IMAGE)) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE))
CYCLONEDX    := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

.PHONY: help tools build test run bench fuzz lint image images sbom accept docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/clouddriver and bin/localkube
	go build -trimpath -o bin/clouddriver ./cmd/clouddriver
	cd localkube && go build -o ../bin/localkube ./cmd/localkube

tools: build $(LINT) ## build the control planes and the linter, once per machine
	bin/localkube build

$(LINT):
	mkdir -p $(@D)/install
	GOFLAGS= GOBIN=$(@D)/install go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(LINT_VERSION)
	mv $(@D)/install/golangci-lint $@

test: ## run every test, with the race detector, on real control planes
	@for m in $(MODULES); do echo "== go test ./... in $$m" && (cd $$m && go test -race -timeout 60m ./...) || exit 1; done

run: build ## serve the clusters of KUBECONFIG, or a demo on two local control planes
ifdef KUBECONFIG
	bin/clouddriver
else
	bin/localkube run -n 2 -apply localkube/demo/demo.yaml -- sh -c 'cat localkube/demo/welcome.txt; exec bin/clouddriver'
endif

bench: build ## measure against limits and peers on a real control plane, in one run
	go test -run '^$$' -bench . -benchtime 1x -timeout 60m ./integration
	go test -run '^$$' -bench Search -benchtime 1000x ./pkg/index ./pkg/api

# A fleet of FLEET (1,500) simulated clusters beside the service, in about ten minutes.
.PHONY: bench-fleet
bench-fleet: build ## measure a whole fleet of simulated clusters, in one run with one table
	go test -run '^$$' -bench Fleet -benchtime 1x -timeout 60m ./integration/fleet

FUZZTIME ?= 2m
GOVULNCHECK ?= v1.1.4
fuzz: ## look for input that breaks a route or a decoder, FUZZTIME (2m) for each
	INTEGRATION_FUZZTIME=$(FUZZTIME) go test -run Routes_WithstandOddTexts -count 1 -timeout 0 ./integration
	go test -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME) ./pkg/operation
	go test -run '^$$' -fuzz FuzzDecodeObject -fuzztime $(FUZZTIME) ./pkg/index
	go test -run '^$$' -fuzz FuzzProperties -fuzztime $(FUZZTIME) ./pkg/view
	go test -run '^$$' -fuzz FuzzFrames -fuzztime $(FUZZTIME) ./pkg/watch
	go test -run '^$$' -fuzz FuzzMonikerOf -fuzztime $(FUZZTIME) ./pkg/spinnaker
	go test -run '^$$' -fuzz FuzzSettings -fuzztime $(FUZZTIME) ./pkg/config
	go test -run '^$$' -fuzz FuzzParse -fuzztime $(FUZZTIME) ./pkg/secret
	go test -run '^$$' -fuzz FuzzParseDefinition -fuzztime $(FUZZTIME) ./pkg/account
	go test -run '^$$' -fuzz FuzzKubeconfig -fuzztime $(FUZZTIME) ./pkg/account
	go test -run '^$$' -fuzz FuzzProvider -fuzztime $(FUZZTIME) ./pkg/account
	go test -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME) ./pkg/auth
	go test -run '^$$' -fuzz FuzzHeaders -fuzztime $(FUZZTIME) ./pkg/auth

vulncheck: ## look what the program calls up in Go's database of vulnerabilities, as the module mirror has it
	rm -rf bin/vulndb && mkdir -p bin
	go run ./integration/vulndb "$$(go mod download -json golang.org/x/vulndb@latest | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')" bin/vulndb
	GOFLAGS= go run golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK) -db "file://$(CURDIR)/bin/vulndb" ./cmd/...

lint: $(LINT) ## run the linters
	@for m in $(MODULES) integration/registry integration/gcs; do (cd $$m && $(LINT) run --config $(CURDIR)/.golangci.yaml ./...) || exit 1; done

image: ## build the image for this machine; GO_IMAGE and BASE_IMAGE name other bases
	docker build --build-arg BUILDPLATFORM=linux/$(shell go env GOARCH) --build-arg TARGETARCH=$(shell go env GOARCH) $(IMAGE_ARGS) -t $(IMAGE):$(VERSION) .

images: ## build the image for PLATFORMS and push it (needs docker buildx)
	docker buildx build --platform $(PLATFORMS) $(IMAGE_ARGS) -t $(IMAGE):$(VERSION) --push .

sbom: image ## write bin/sbom.json, a CycloneDX list of what is in the image
	mkdir -p bin
	id=$$(docker create $(IMAGE):$(VERSION)) && docker cp $$id:/clouddriver bin/clouddriver-image && docker rm $$id >/dev/null
	GOFLAGS= go run $(CYCLONEDX) bin -json -output bin/sbom.json bin/clouddriver-image

accept: ## try the image and the chart on MySQL and local control planes, as a platform team would
	CI=true go test -count 1 -timeout 30m -v -run 'TestImage_|TestChart_' ./integration

docs: build ## write the generated pages: settings, metrics
	bin/clouddriver settings > docs/settings.md
	bin/clouddriver metrics > docs/metrics.md

clean: ## remove what was built in the tree
	rm -rf bin
