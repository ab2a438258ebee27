/* The subcommands that live in this folder; cli/main.c lists them. argv[0] is the subcommand's
 * name; each returns an exit status of base/args.h. */
#ifndef CP_TOKENIZER_COMMANDS_H
#define CP_TOKENIZER_COMMANDS_H

int cmd_tokenize(int argc, char **argv);

#endif
