# Everything that is built outside the tree is kept by version under the
# user's cache folder, so that it is built once per machine.
CACHE        := $(or $(LOCALKUBE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/localkube)
LINT_VERSION := v2.15.0
LINT         := $(CACHE)/tools/golangci-lint-$(LINT_VERSION)
MODULES      := . localkube

.DEFAULT_GOAL := help
.PHONY: help tools build test run bench fuzz lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-6s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

FUZZTIME ?= 2m
fuzz: ## look for input that breaks a route or a decoder, FUZZTIME (2m) for each
	INTEGRATION_FUZZTIME=$(FUZZTIME) go test -run Routes_WithstandOddTexts -count 1 -timeout 0 ./integration
	go test -run '^$$' -fuzz FuzzDecode -fuzztime $(FUZZTIME) ./pkg/operation
	go test -run '^$$' -fuzz FuzzProperties -fuzztime $(FUZZTIME) ./pkg/view
	go test -run '^$$' -fuzz FuzzFrames -fuzztime $(FUZZTIME) ./pkg/watch
	go test -run '^$$' -fuzz FuzzMonikerOf -fuzztime $(FUZZTIME) ./pkg/spinnaker

lint: $(LINT) ## run the linters
	@for m in $(MODULES); do (cd $$m && $(LINT) run --config $(CURDIR)/.golangci.yaml ./...) || exit 1; done

clean: ## remove what was built in the tree
	rm -rf bin
