# What `ringpost --version` says: tools/version.sh. It is asked by every make, and compiled and linked again only when it changed.
VERSION_C := $(BUILD)/generated/version.c

$(VERSION_C): FORCE
	@mkdir -p $(@D)
	@printf '#include "core/version.h"\nconst char version_text[] = "%s";\n' "$$(tools/version.sh)" > $@.part
	@cmp -s $@.part $@ && rm $@.part || mv $@.part $@

$(VERSION_C:.c=.o): $(VERSION_C)
	$(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/libcore.a: $(VERSION_C:.c=.o)
