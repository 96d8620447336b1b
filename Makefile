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

.PHONY: run check fmt lint house test conformance clients genuine-proxy fuzz bless bench loadtest floods soak deny instructions curves pgo real-model doc clean

run: ## Build and start the gateway on the embedded simulated model
	$(CARGO) run --release --quiet -- run --config conf/kong.yaml --server conf/tollgate.yaml --mock-llm $(MOCK)

check: fmt house lint test ## Everything that must pass before a commit

fmt:
	$(CARGO) fmt --all --check

lint:
	$(CARGO) clippy --all-targets --locked -- -D warnings

house: ## Lengths of functions and files, panics, repetitions, documentation, edges between stages, against their goals
	@python3 .ci/house.py

test: ## All tests; they start what they need
	$(CARGO) test --locked
	python3 -m unittest discover --quiet --start-directory loadtest
	python3 -m unittest discover --quiet --start-directory .ci

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

bless: ## Rewrite the golden files and the generated tables from what the code does now; the diff is the review
	BLESS=1 $(CARGO) test --locked --test golden --test reference --test readme

bench: ## Micro-benchmarks (criterion)
	$(CARGO) bench --locked

loadtest: ## The table of docs/performance.md, or SCENARIO=failover, SCENARIO=upgrade; installs wrk, nginx and valgrind
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked --example bare --example load
	loadtest/$(SCENARIO).sh

floods: ## 10,000 idle connections, trickling and huge bodies, vanishing clients: bounds held, figures printed
	$(CARGO) build --release --locked
	loadtest/floods.sh

soak: ## Ten minutes (SECONDS_=600) at full load with a reload every second: no error, flat memory
	$(CARGO) build --release --locked
	loadtest/soak.sh

deny: ## Licences, duplicates and sources of what is linked; without the network once crates are there; needs cargo-deny 0.20
	@command -v cargo-deny >/dev/null || { echo "deny: cargo install cargo-deny --version '^0.20' --locked"; exit 1; }
	$(CARGO) deny --offline --locked check bans licenses sources

instructions: ## User instructions of fixed exchanges against loadtest/instructions.json; BLESS=1 rewrites it
	$(CARGO) build --release --locked
	loadtest/instructions.sh

curves: ## Cost against body size, routes and streams, as docs/performance-curves.svg; installs matplotlib
	$(CARGO) build --release --locked
	$(CARGO) build --release --locked --example bare --example load
	loadtest/curves.sh

pgo: ## A build tuned by a profile of itself, target/pgo/release/tollgate; installs rustup's llvm-tools, wrk and nginx
	$(CARGO) build --release --locked --example load
	loadtest/pgo.sh

real-model: ## The README's curls against a genuine llama.cpp server
	$(CARGO) build --release --locked
	loadtest/real-model.sh

doc: ## The API documentation
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

clean:
	$(CARGO) clean
