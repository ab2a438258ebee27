# CarePath. `make` alone lists the targets.
#
# MODE of a build: release by default; SAN=address,undefined or SAN=thread for the sanitizers. Objects of
# each mode live in build/<mode>/. V=1 shows the commands.

SAN   ?=
MODE  ?= $(if $(SAN),san-$(firstword $(subst $(comma), ,$(SAN))),release)
BUILD ?= build/$(MODE)
CC    ?= cc
V     ?=
Q     := $(if $(V),,@)
comma := ,
VERSION := $(shell cat VERSION)
ARCH  := $(shell uname -m)

# What a newcomer needs, by Debian's and Ubuntu's names (the same on both).
DEB_PACKAGES := gcc make pkg-config libmicrohttpd-dev libcjson-dev libopenblas-pthread-dev \
                libutf8proc-dev libpcre2-dev libstemmer-dev libxxhash-dev libssl-dev libcurl4-openssl-dev libmongoc-dev libcmocka-dev \
                curl ca-certificates
# The MongoDB driver's second generation has another name. The program loads it when it is asked for
# (server/mongoc_library); only the tests are linked with it.
MONGOC := $(if $(shell pkg-config --exists mongoc2 && echo yes),mongoc2,libmongoc-1.0)
PKGS := libmicrohttpd libcjson libutf8proc libpcre2-8 libxxhash libcrypto libcurl openblas

# ---- what is built ---------------------------------------------------------------------------------
FOLDERS ?= base hub tokenizer engine engine/kernels llm retrieval convert bench server
LIB_C   := $(wildcard $(addsuffix /*.c,$(FOLDERS)))
ifneq ($(ARCH),x86_64)
LIB_C   := $(filter-out engine/kernels/avx%.c engine/kernels/mix_avx%.c bench/rates_avx%.c,$(LIB_C))
endif
ifneq ($(ARCH),aarch64)
LIB_C   := $(filter-out engine/kernels/neon%.c engine/kernels/mix_neon.c,$(LIB_C))
endif
TESTS   ?= $(wildcard tests/*.c)
LIB_O   := $(LIB_C:%.c=$(BUILD)/%.o)
TEST_O  := $(TESTS:%.c=$(BUILD)/%.o)

# ---- how -------------------------------------------------------------------------------------------
WARN     := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla \
            -Wpointer-arith -Wwrite-strings -Wundef $(if $(WERROR),-Werror)
CPPFLAGS += -I. -D_GNU_SOURCE -DCP_VERSION='"$(VERSION)"' $(shell pkg-config --cflags $(PKGS) $(MONGOC) 2>/dev/null)
CFLAGS   ?= -O2 -g
HARDEN   := -fstack-protector-strong -fstack-clash-protection -fPIE \
            $(if $(filter x86_64,$(ARCH)),-fcf-protection) \
            $(if $(filter aarch64,$(ARCH)),-mbranch-protection=standard)
ifeq ($(SAN),)
HARDEN   += -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -ftrivial-auto-var-init=zero
else
HARDEN   += -fsanitize=$(SAN) -fno-omit-frame-pointer -fno-sanitize-recover=all
LDSAN    := -fsanitize=$(SAN)
endif
ALL_CFLAGS  = -std=c11 $(WARN) $(CFLAGS) $(HARDEN) -ffp-contract=off -pthread
ALL_LDFLAGS = $(LDFLAGS) $(LDSAN) -pie -pthread -Wl,-z,relro,-z,now -Wl,-z,noexecstack
LIBS      = $(shell pkg-config --libs $(PKGS)) -lstemmer -lm -ldl
# Tests see every allocation of ours: tests/alloc_fault.c stands in front of them.
WRAP     := -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc,--wrap=strdup

# Sanitizers instrument every access of the unrolled kernels: with more than this that takes minutes to
# compile.
$(BUILD)/engine/kernels/%.o: CFLAGS += $(if $(SAN),-O1 -g1 -fno-var-tracking,-O3)
$(BUILD)/convert/quantize.o $(BUILD)/retrieval/index_search.o $(BUILD)/retrieval/postings.o: CFLAGS += -O3
# The hub of the tests takes orders between requests, in order by what comes over its sockets, which the
# thread sanitizer does not see.
$(BUILD)/tests/hub_api.o: HARDEN := $(filter-out -fsanitize=thread,$(HARDEN))
# Only these objects may use more than the baseline instruction set.
$(BUILD)/engine/kernels/avx2.o $(BUILD)/engine/kernels/avx2_quant.o: ISA_FLAGS := -mavx2 -mfma -mf16c
$(BUILD)/engine/kernels/avx512.o $(BUILD)/engine/kernels/avx512_quant.o: ISA_FLAGS := -mavx512f \
    -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx2 -mfma -mf16c
$(BUILD)/engine/kernels/neon_dot.o: ISA_FLAGS := -march=armv8.2-a+dotprod
$(BUILD)/engine/kernels/mix_avx2.o: ISA_FLAGS := -mavx2 -mfma -mf16c
$(BUILD)/engine/kernels/mix_avx512.o: ISA_FLAGS := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma
$(BUILD)/bench/rates_avx2.o: ISA_FLAGS := -mavx2 -mfma
$(BUILD)/bench/rates_avx512.o: ISA_FLAGS := -mavx512f -mavx512vnni

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help deps build run pull convert test eval bench bench-load test-arm64 fuzz check format clean loc

help: ## list the targets
	@echo "CarePath $(VERSION)"; \
	grep -hE '^[a-z0-9-]+:.*## ' $(filter-out %.d,$(MAKEFILE_LIST)) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 26; \
	echo "Variables: MODEL=folder (run, convert, bench-load), SAN=address,undefined or SAN=thread (build, test), V=1"

deps: ## install what is missing (apt; sudo only when not root)
	$(Q)sh tests/tools/deps.sh $(DEB_PACKAGES)

build: deps ## build build/release/carepath
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath

# Compiling needs the pkg-config answers of the packages that `deps` installs: so a second make.
run: deps ## start the server; MODEL=folder for real inference, mock without
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath
	$(Q)exec $(BUILD)/carepath serve $(if $(MODEL),--llm-mode "$(MODEL)")

pull: deps ## fetch a model from the hub; MODEL=org/name, QUANT=level for a quantized copy, too
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath
	$(Q)$(BUILD)/carepath pull "$(MODEL)" $(if $(REVISION),--revision "$(REVISION)") $(if $(QUANT),--quant "$(QUANT)")

convert: deps ## quantize a model; MODEL=folder, QUANT=level (int4), OUT=folder (MODEL-QUANT)
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath
	$(Q)$(BUILD)/carepath convert "$(MODEL)" "$(if $(OUT),$(OUT),$(MODEL:/=)-$(or $(QUANT),int4))" --quant $(or $(QUANT),int4)

test: deps ## build and run all tests (NAME=pattern for some)
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath $(BUILD)/carepath-tests
	$(Q)$(BUILD)/carepath-tests $(NAME)

eval: deps ## score the rules on the vignettes: build/eval/report.html, report.json; fails when they miss
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath
	@mkdir -p build/eval
	$(Q)env -u LLM_MODE $(BUILD)/carepath eval --json --html build/eval/report.html > build/eval/report.json

test-arm64: ## cross-build for 64-bit ARM, test under qemu, compare with this machine
	$(Q)sh tests/tools/arm64.sh $(filter lib%,$(DEB_PACKAGES))

# With clang, which nothing else here needs: the script installs it.
fuzz: deps ## fuzz what reads hostile input (TARGET=gguf for one, SECONDS=60 for each; docs/testing.md)
	$(Q)sh tests/tools/fuzz.sh "$(TARGET)" "$(or $(SECONDS),60)" build/fuzz

bench: deps ## compare the quantization levels: build/bench/report.html, .json (bench/RESULTS.md)
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath
	$(Q)BUILD=$(BUILD) sh bench/compare_levels.sh

bench-load: deps ## load on a server of its own: build/bench/load.html, .json (MODEL=folder; mock without)
	$(Q)$(MAKE) --no-print-directory $(BUILD)/carepath
	$(Q)BUILD=$(BUILD) MODEL="$(MODEL)" sh bench/load_own_server.sh

check: ## format, folder rule, headers compile alone, cppcheck
	$(Q)sh tests/tools/check.sh

format: ## rewrite the sources in the project's format
	$(Q)sh tests/tools/format.sh

loc: ## lines of code by folder
	@for d in base hub tokenizer engine llm retrieval convert bench server cli tests; do \
	  printf '%-10s %6d\n' $$d $$(find $$d -name '*.[ch]' -exec cat {} + | wc -l); done

clean: ## remove build/
	rm -rf build

# The image is built without it.
-include deploy/Makefile.inc

$(BUILD)/carepath: $(LIB_O) $(BUILD)/cli/main.o
	@echo "  LD  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/carepath-tests: $(LIB_O) $(TEST_O)
	@echo "  LD  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) $(WRAP) -o $@ $^ $(LIBS) $(shell pkg-config --libs $(MONGOC)) -lcmocka

TEST_PROGRAM ?= $(BUILD)/carepath
$(BUILD)/tests/%.o: CPPFLAGS += -DCP_TEST_PROGRAM='"$(TEST_PROGRAM)"'

$(BUILD)/%.o: %.c Makefile VERSION
	@mkdir -p $(@D)
	@echo "  CC  $<"
	$(Q)$(CC) $(CPPFLAGS) $(ALL_CFLAGS) $(ISA_FLAGS) -MMD -MP -c -o $@ $<

-include $(LIB_O:.o=.d) $(TEST_O:.o=.d) $(BUILD)/cli/main.d
