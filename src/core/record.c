/* core/record.c - see record.h. */
#include "core/record.h"

struct record_format record_format;
