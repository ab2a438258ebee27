/* The subcommands of carepath bench, a file each, and what they share. argv[0] is the word after
 * "bench". */
#ifndef CP_BENCH_SUBCOMMANDS_H
#define CP_BENCH_SUBCOMMANDS_H

#include "base/error.h"
#include "base/strbuf.h"

#include <stddef.h>
#include <stdint.h>

#define CP_BENCH_TEXT_MAX ((size_t)16 << 20) /* bytes of a report */

int cmd_bench_limits(int argc, char **argv);
int cmd_bench_speed(int argc, char **argv);
int cmd_bench_quality(int argc, char **argv);
int cmd_bench_load(int argc, char **argv);
int cmd_bench_retrieval(int argc, char **argv);
int cmd_bench_start(int argc, char **argv);
int cmd_bench_search(int argc, char **argv);

/* The number to use for --threads: 0 is one a processor this process may use. */
size_t cp_bench_threads(int64_t option);
/* Writes the finished text and a line end to stdout, or says why it is not whole. */
cp_status cp_bench_print(const cp_strbuf *text, cp_error *err) CP_MUST_CHECK;
/* Writes the finished text to a file, or says why it is not whole. */
cp_status cp_bench_write(const char *path, const cp_strbuf *text, cp_error *err) CP_MUST_CHECK;
/* One line to stderr; `user` is not used. */
void cp_bench_show_progress(void *user, const char *line);
/* The command as it was typed, for reports, but for the patients of --mrns; initialises `out`. */
void cp_bench_keep_command(int argc, char **argv, cp_strbuf *out);

#endif
