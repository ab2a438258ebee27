# The fuzz harnesses; tests/tools/fuzz.sh calls this with clang, BUILD, SAN and CFLAGS.
include Makefile

# What the harnesses read hostile input with, and nothing else: compiling all would take minutes. A linker
# that misses something says which module to add.
FUZZED := $(filter-out %/cmd_tokenize.c base/http_%.c base/certificate.c base/html.c base/progress.c engine/score.c, \
          $(wildcard base/*.c tokenizer/*.c engine/*.c)) \
          $(patsubst %,engine/kernels/%.c,dispatch mix_dispatch scalar scalar_quant mix_scalar) \
          $(wildcard llm/json_*.c convert/gguf*.c) convert/source.c convert/checkpoint_source.c \
          base/http_transfer.c hub/catalogue.c hub/hub_fields.c hub/hub_index.c hub/hub_names.c \
          $(wildcard server/safety*.c server/fhir_*.c) \
          $(patsubst %,retrieval/%.c,candidates chunks citations claim_mentions claim_words claims entry everyday_names fold \
          knowledge known_words name_table postings query_terms quote_find retriever sentences term_values terms) \
          $(wildcard retrieval/index*.c retrieval/segment*.c) \
          $(patsubst %,server/%.c,access_keys audit_head audit_keys audit_line audit_question audit_scan body_reader \
          http_cors http_guard http_ids http_proxy http_reply http_routes openai_embeddings openai_messages openai_request openai_reranking \
          openai_warnings reply_parts patient_record patient_summary phi_names phi_patterns phi_scrub store_jsonl triage_answer \
          triage_request triage_text)
# No processor has anything: the scalar kernels (isa_stub.c).
CPPFLAGS += '-D__builtin_cpu_supports(name)=0'
SHARED  := fuzz isa_stub header_mutator
NAMES   := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))

fuzzers: $(NAMES:%=$(BUILD)/fuzz-%) $(BUILD)/fuzz-seeds
.PHONY: fuzzers
.SECONDARY:

$(BUILD)/libfuzzed.a: $(FUZZED:%.c=$(BUILD)/%.o)
	@rm -f $@
	$(Q)ar rcs $@ $^

$(BUILD)/fuzz-seeds: $(BUILD)/tests/fuzz/seeds.o $(BUILD)/tests/gguf_image.o $(BUILD)/tests/support.o $(BUILD)/libfuzzed.a
	@echo "  LD  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

$(BUILD)/fuzz-%: $(BUILD)/tests/fuzz/fuzz_%.o $(SHARED:%=$(BUILD)/tests/fuzz/%.o) $(BUILD)/libfuzzed.a
	@echo "  LD  $@"
	$(Q)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -Wl,--wrap=cp_file_map,--wrap=cp_file_unmap -o $@ $^ $(LIBS)

-include $(wildcard $(BUILD)/tests/fuzz/*.d)
