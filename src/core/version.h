/* core/version.h - which version this is: "0.2.0", or "0.2.0+17.g33cae0f" between two releases. tools/version.sh makes it. */
#ifndef CORE_VERSION_H
#define CORE_VERSION_H

extern const char version_text[];

#endif
