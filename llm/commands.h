/* The subcommands that need a whole model folder: each gets its own words, argv[0] its name, and
 * returns the exit status. */
#ifndef CP_LLM_COMMANDS_H
#define CP_LLM_COMMANDS_H

int cmd_generate(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_doctor(int argc, char **argv);

#endif
