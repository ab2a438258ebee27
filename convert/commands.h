/* The subcommands that prepare weights. argv[0] is the name; the exit status is returned. */
#ifndef CP_CONVERT_COMMANDS_H
#define CP_CONVERT_COMMANDS_H

int cmd_convert(int argc, char **argv);
int cmd_pull(int argc, char **argv);

#endif
