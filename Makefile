# Nothing is tested from the cache. The tests of real servers measure milliseconds, so their packages are tested one after the
# other; those of the others may run beside one another.
TEST     = go test -race -count=1 -timeout 40m
TIMED    = . ./console ./examples/... ./internal/e2e ./internal/e2e/cluster ./internal/e2e/matrix ./internal/testkit/... ./multidbtest ./probes ./pubsubwrap ./txwrap ./window
OTHERS   = $(filter-out $(shell go list $(TIMED)),$(shell go list ./...))
# The linters, pinned. Go builds them, so nothing has to be installed.
LINT      = github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULNCHECK = go run golang.org/x/vuln/cmd/govulncheck@v1.9.0
# The directories of the modules beside this one.
MODULES   = $(patsubst %/,%,$(dir $(filter-out ./go.mod,$(shell find . -name go.mod -not -path '*/node_modules/*' | sort))))
FUZZTIME ?= 30s
BENCH    ?= .
# The tests that report a row.
TABLE     = TestCrash|TestHang|TestUnavailableReplies|TestConnectionResets|TestSlowServer|TestCallersOwnDoing|TestBlackhole|TestBothDown|TestAllDown|TestSubscriptionsFollow|TestHerd|TestHangUnderASubscriptionAlone|TestConnectionsThatAreForgotten|TestReturnOfADistant|TestANewMaster

CLUSTERTABLE = TestThousandPlannedSwitches|TestCrashOfAWholeCluster|TestHangOfAWholeCluster|TestLossOfTheQuorum|TestMaster

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: test
test: deps ## Vet and run all tests with the race detector, real redis-server processes included
	go vet ./...
	$(TEST) -short -p 2 $(OTHERS)
	$(TEST) -short -tags multidb_nopoolcheck ./internal/conn
	$(TEST) -short -p 1 $(TIMED)
	go test -count=1 -p 1 -run 'Allocates|WhatA|Throughput' . ./internal/e2e ./window ./pubsubwrap ./console
	@set -e; for dir in $(MODULES); do echo "$$dir"; (cd $$dir && go vet ./... && go test -race -count=1 -timeout 10m -p 1 -short ./...); done

.PHONY: soak
soak: deps ## The same at full length: 1,000 planned switches, 200 faults, 100 crashes, 30 s of resets, 64 databases, 1,000,000 random calls, 30,000 sessions of full duplex, 5,000 new connections under FLUSHDB
	$(TEST) -p 2 $(OTHERS)
	$(TEST) -p 1 $(TIMED)
	go test -count=1 -p 1 -run 'Allocates|WhatA|Throughput|ProbingCost|OutageCost' . ./internal/e2e ./window ./pubsubwrap

.PHONY: check
check: static test ## What a change must pass: static, then test

.PHONY: static
static: ## Formatting, go.mod, lint and known vulnerabilities, of every module
	@test -z "$$(gofmt -l .)" || { echo "not formatted:"; gofmt -l .; exit 1; }
	@set -e; for dir in . $(MODULES); do echo "$$dir: go mod tidy -diff"; (cd $$dir && go mod tidy -diff); done
	@.ci/lint $(LINT) $(CURDIR)/.golangci.yml . $(MODULES)
	@.ci/vulncheck '$(VULNCHECK)' . $(MODULES)

.PHONY: bench
bench: ## Run the benchmarks (BENCH=Process for some of them)
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

.PHONY: table
table: deps ## Measure the table of docs/measured.md: every fault on real servers, an all-default client, no race detector
	@rm -f $(CURDIR)/table.tmp
	@MULTIDB_TABLE=$(CURDIR)/table.tmp go test -count=1 -timeout 20m -run '$(TABLE)' ./internal/e2e >/dev/null; \
		MULTIDB_TABLE=$(CURDIR)/table.tmp go test -count=1 -short -parallel 1 -run '$(CLUSTERTABLE)' ./internal/e2e/cluster >/dev/null; \
		{ echo '| fault on the active database | load | next success after | errors at callers |'; echo '|---|---|---|---|'; \
		cat $(CURDIR)/table.tmp; rm -f $(CURDIR)/table.tmp; }

.PHONY: matrix
matrix: deps ## Measure docs/matrix.md: every kind of fault under every kind of load, real servers, no race detector
	@rm -f docs/matrix.md
	MULTIDB_MATRIX=$(CURDIR)/docs/matrix.md go test -count=1 -timeout 30m ./internal/e2e/matrix

.PHONY: fuzz
fuzz: ## Fuzz every target for a while (FUZZTIME=30s)
	@set -e; for pkg in $$(go list ./...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

.PHONY: large
large: deps ## Measure what is left of the throughput of large replies with the hook, in one run
	MULTIDB_LARGE=1 go test -count=1 -run TestLargeReplies -v ./internal/e2e

.PHONY: demo
demo: ## Watch a failover: two servers, load, one is killed and comes back
	go run ./examples/failover

.PHONY: pictures
pictures: deps ## Make the pictures in docs/: a failover, the states of a database, the floors, the console
	go run ./internal/tools/pictures docs
	go run ./examples/failover -svg docs/failover.svg </dev/null
	cd internal/tools/browser && go run ./screenshot $(CURDIR)/docs/console.png

.PHONY: deps
deps: ## Install what the tests need (redis-server, gcc, chromium) where apt-get is there and we are root
	@.ci/deps
