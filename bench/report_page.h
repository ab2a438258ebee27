/* The frame of bench's HTML reports: style, facts, cards, tables. Pages stand alone: no scripts,
 * nothing fetched, light and dark. Texts are escaped here; functions append to a strbuf, whose
 * failure the caller checks. */
#ifndef CP_BENCH_REPORT_PAGE_H
#define CP_BENCH_REPORT_PAGE_H

#include "base/strbuf.h"

/* Everything up to the first card; note may be NULL. */
void cp_page_open(cp_strbuf *out, const char *title, const char *stamp, const char *note);
void cp_page_close(cp_strbuf *out);

void cp_page_open_facts(cp_strbuf *out);
void cp_page_fact(cp_strbuf *out, const char *value, const char *name);
void cp_page_close_facts(cp_strbuf *out);

void cp_page_open_card(cp_strbuf *out, const char *title, const char *remark);
void cp_page_close_card(cp_strbuf *out);

/* heads [n]; the rows between are the caller's. */
void cp_page_open_table(cp_strbuf *out, const char *title, const char *const *heads, size_t n);
void cp_page_close_table(cp_strbuf *out);

/* "How this was measured"; closes with the command that was typed. */
void cp_page_open_footer(cp_strbuf *out);
void cp_page_close_footer(cp_strbuf *out, const char *command);

/* Markup, text, markup: only the text is escaped. */
void cp_page_escaped(cp_strbuf *out, const char *before, const char *text, const char *after);

#endif
