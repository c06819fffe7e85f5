# tsrun. `make help` lists the targets; `make demo` and `make test` need nothing but Debian, root, Node.js >= 20, npm and make.

PREFIX  ?= /usr/local
DESTDIR ?=

machine := $(patsubst x86_64,x86-64,$(shell uname -m))
# What to build for: x86-64 or aarch64.
ARCH    ?= $(machine)
# no: a program that starts as Bun does, and of which every build gives the same bytes.
WARM    ?= yes

bun     := node_modules/@oven/bun-linux-$(if $(filter aarch64,$(machine)),aarch64,x64)/bin/bun
foreign := build/bun-$(ARCH)/node_modules/@oven/bun-linux-$(if $(filter aarch64,$(ARCH)),aarch64,x64)/bin/bun
program := bin/tsrun$(if $(filter-out $(machine),$(ARCH)),-$(ARCH))
sources := $(shell find src -name '*.ts' ! -name '*.test.ts' -o -path 'src/spec/generated/*')
builder := scripts/build.ts $(wildcard scripts/program/*.ts) package.json package-lock.json

# What Bun and npm would write to the home directory stays in the tree; there may be no home directory.
export BUN_INSTALL := $(CURDIR)/build/cache/bun
export BUN_RUNTIME_TRANSPILER_CACHE_PATH := 0
export DO_NOT_TRACK := 1
ifeq ($(wildcard $(HOME)/.),)
export HOME := $(CURDIR)/build/cache/home
endif

.DEFAULT_GOAL := build
.DELETE_ON_ERROR:
.PHONY: help setup test-setup build generate check audit test conformance test-guest fuzz integration bench bench-engines demo man install clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 15
	@echo
	@echo 'ARCH=x86-64|aarch64 for build; PREFIX ($(PREFIX)) and DESTDIR for install.'

setup: node_modules/.package-lock.json ## install the pinned packages of package-lock.json into node_modules

node_modules/.package-lock.json: package-lock.json
	@scripts/setup.sh packages
	@touch $@

# Debian packages: runtimes to compare with, containerd, strace, qemu-user …; only where they are missing, and as root.
test-setup: setup
	@scripts/setup.sh debian

build: $(program) ## compile bin/tsrun, or with ARCH=aarch64 bin/tsrun-aarch64

$(program): $(sources) $(builder) $(if $(filter-out $(machine),$(ARCH)),$(foreign)) | node_modules/.package-lock.json
	$(bun) scripts/build.ts $(ARCH) $@ $(if $(filter no,$(WARM)),--cold)

$(foreign): package-lock.json
	@scripts/setup.sh bun $(ARCH)
	@touch $@

generate: setup man ## write what is generated and committed: schemas, validators, man pages
	$(bun) scripts/generate-schemas.ts

check: setup ## types, lint, format, generated files, unit tests; needs no root
	@$(bun) scripts/run-suites.ts check

audit: ## ask npm's registry for known holes in the pinned packages
	@npm audit --audit-level=low

test: test-setup ## everything: check, builds, integration, other people's suites; installs what it needs; needs root
	@$(bun) scripts/run-suites.ts build check integration guest reference conformance

# SUITE=docker for one of them.
conformance: test-setup build ## other people's suites and engines, conformance-tests/; needs root
	@$(bun) scripts/run-suites.ts conformance$(if $(SUITE),/$(SUITE))

# FILES=tests/exec.test.ts for one file, SUITE=trixie for another Debian.
test-guest: test-setup build ## the tests in a guest with systemd, cgroup v2 and AppArmor; needs root
	@GUEST_SUITE=$(SUITE) tests/guest/run.sh $(FILES)

# MINUTES=10 for longer than the bounded run of `make test`; SEED, TARGET and CASE as a failure says.
fuzz: test-setup build ## random configs, command lines, states, profiles, mounts; MINUTES=n; needs root
	@tests/fuzz/run.sh

integration: build ## the tests in tests/ only; needs root
	@$(bun) scripts/run-suites.ts integration

bench: test-setup build ## compare with runc and crun; needs root
	$(bun) bench/bench.ts

# FLAGS=--quick for few runs, and no change of the document. Engines put files into /run and /etc/docker, whatever they are told.
bench-engines: test-setup build ## compare with runc what users of engines wait for, into docs/engines.md; needs root
	CRI_CLIENT=$$(scripts/go-programs.sh ./conformance-tests/cri) && export CRI_CLIENT && \
	  unshare -m --propagation private sh -c 'mount -t tmpfs none /run && mount -t tmpfs none /etc/docker && exec "$$@"' sh \
	  $(bun) bench/engines.ts $(or $(FLAGS),--document)

demo: build ## build, then show a container without an image; needs root
	@scripts/demo.sh

man: setup ## write the man pages, docs/man
	$(bun) scripts/generate-man.ts docs/man

install: build ## install to $(DESTDIR)$(PREFIX)
	scripts/install-program.sh bin/tsrun $(DESTDIR)$(PREFIX)/bin/tsrun
	install -d $(DESTDIR)$(PREFIX)/share/man/man1
	install -m 644 docs/man/*.1 $(DESTDIR)$(PREFIX)/share/man/man1

clean: ## remove what was built; node_modules stays
	rm -rf build bin/tsrun bin/tsrun-* bench/results
