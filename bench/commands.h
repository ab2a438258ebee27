/* carepath bench: measuring. */
#ifndef CP_BENCH_COMMANDS_H
#define CP_BENCH_COMMANDS_H

int cmd_bench(int argc, char **argv);

#endif
