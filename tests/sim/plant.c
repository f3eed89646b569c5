/* tests/sim/plant.c - the names of the planted bugs; where each one acts, the code asks for it (node.c, world.c). */
#include "sim/plant.h"

#define PLANT_AS_NAME(name, text) #name,
static const char *const names[PLANT_COUNT] = {"none", PLANT_LIST(PLANT_AS_NAME)};

const char *plant_name(enum plant plant) { return names[plant]; }
