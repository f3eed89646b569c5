/* tests/sim/alarm_area.c - the area of alarms, with the objects of the simulator. */
#include "shard/alarm.c"
