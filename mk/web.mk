# The web chat: every file below web/ becomes bytes in the web archive, found by src/web/assets.c.
WEB_FILES := $(sort $(shell find web -type f))
WEB_ASSETS_C := $(BUILD)/generated/web_assets.c

# The list of names is a prerequisite too: a file that went away must leave the table.
$(BUILD)/generated/web_files.txt: FORCE
	@mkdir -p $(@D)
	@echo '$(WEB_FILES)' | cmp -s - $@ || echo '$(WEB_FILES)' > $@

$(WEB_ASSETS_C): tools/web_assets.sh $(BUILD)/generated/web_files.txt $(WEB_FILES)
	tools/web_assets.sh web $(WEB_FILES) > $@.part
	@mv $@.part $@

$(WEB_ASSETS_C:.c=.o): $(WEB_ASSETS_C)
	$(CC) $(CFLAGS) -c -o $@ $<

$(BUILD)/libweb.a: $(WEB_ASSETS_C:.c=.o)

.PHONY: FORCE
FORCE:
