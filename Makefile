# The commands of this project. On a machine with Rust, gcc and make, `make run` and `make test`
# need nothing else; the others say what they need.

CARGO ?= cargo
MOCK  ?= 127.0.0.1:8090
SUITE ?= ../shared/conformance
SCENARIO ?= run
VENV  := target/venv
SECONDS ?= 60
JOBS ?= 1
TARGET ?=

.PHONY: run check fmt lint test conformance clients genuine-proxy fuzz bless bench loadtest instructions real-model doc clean

run: ## Build and start the gateway on the embedded simulated model
	$(CARGO) run --release --quiet -- run --config conf/kong.yaml --server conf/tollgate.yaml --mock-llm $(MOCK)

check: fmt lint test ## Everything that must pass before a commit

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --all-targets --locked -- -D warnings

test: ## All tests; they start what they need
	$(CARGO) test --locked

conformance: ## The black-box suite, if it stands beside this checkout
	@if [ -d $(SUITE) ]; then tests/conformance.sh $(SUITE) $(VENV); \
	else echo "conformance: skipped, there is no $(SUITE)"; fi

clients: ## The official OpenAI, Anthropic and AWS SDKs against the gateway; installs them with pip
	$(CARGO) build --release --locked
	tests/clients/run.sh target/venv-clients

genuine-proxy: ## The transformers through tinyproxy; installs it if it is missing
	tests/genuine-proxy.sh

fuzz: ## Fuzz every target for SECONDS each, JOBS at once, or those of TARGET; needs a C++ compiler
	SECONDS_EACH=$(SECONDS) JOBS=$(JOBS) fuzz/run.sh $(TARGET)

bless: ## Rewrite the golden files from what the code does now; the diff is the review
	BLESS=1 $(CARGO) test --locked --test golden --test reference

bench: ## Micro-benchmarks (criterion)
	$(CARGO) bench --locked

loadtest: ## The gateway, nginx and the bare upstream side by side, or SCENARIO=failover; installs wrk and nginx
	$(CARGO) build --release --locked
	loadtest/$(SCENARIO).sh

instructions: ## User instructions a request, by callgrind
	$(CARGO) build --release --locked
	loadtest/instructions.sh

real-model: ## The README's curls against a genuine llama.cpp server
	$(CARGO) build --release --locked
	loadtest/real-model.sh

doc: ## The API documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

clean:
	$(CARGO) clean
