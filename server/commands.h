/* The subcommands that live in this folder, for cli/main.c. */
#ifndef CP_SERVER_COMMANDS_H
#define CP_SERVER_COMMANDS_H

/* `carepath serve`: argv[0] is the subcommand's name. Returns the exit status: 0 after a clean
 * stop, 1 when it could not start or its model could not be loaded, 2 for a wrong setting. */
int cmd_serve(int argc, char **argv);

/* `carepath eval`: 1 also when the rules do not pass. */
int cmd_eval(int argc, char **argv);

/* `carepath load-data`: a folder of patients into MongoDB. */
int cmd_load_data(int argc, char **argv);

/* `carepath ingest`: records and the knowledge base into the index; 1 also when a record could not
 * be read. */
int cmd_ingest(int argc, char **argv);

/* `carepath freshness`: compares store and index; 1 also when something is off. */
int cmd_freshness(int argc, char **argv);

/* `carepath lookup`: asks the patient store. */
int cmd_lookup(int argc, char **argv);

/* `carepath keys`: makes, lists and revokes API keys. */
int cmd_keys(int argc, char **argv);

/* `carepath audit`: 1 also when the log has faults. */
int cmd_audit(int argc, char **argv);

/* `carepath replay`: 1 also when the bytes differ. */
int cmd_replay(int argc, char **argv);

/* `carepath health`: 1 when the server does not answer 200. */
int cmd_health(int argc, char **argv);

#endif
