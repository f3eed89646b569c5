/* main.c - the one binary: hands the command line to its subcommands. */
#include "cli/cli.h"

int main(int argc, char **argv) { return cli_main(argc, argv); }
