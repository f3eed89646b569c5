# Debian packages. Each target asks dpkg first: when all is there it takes no time, no network and no rights.
# README.md says what each one is for. NAME=PACKAGE: only if the command NAME is missing, for what often comes from elsewhere.
DEPS := gcc libc6-dev make liburing-dev libinih-dev libxxhash-dev libjemalloc-dev librocksdb-dev libwolfssl-dev \
        python3 protobuf-c-compiler libprotobuf-c-dev libjansson-dev libsodium-dev libutf8proc-dev libncurses-dev
DEPS_TEST := libcriterion-dev libssl-dev openssl python3-websockets python3-jwt python3-protobuf python3-paho-mqtt mosquitto-clients curl protobuf-compiler tmux e2fsprogs mount util-linux procps \
             node=nodejs npm=npm chromium=chromium
# The proxies of tests/e2e/proxies_test.py, kept from starting as services as well.
DEPS_PROXIES := nginx libnginx-mod-stream haproxy
DEPS_PERF := libssl-dev openssl
# Only `make bench-peers`: the servers of others (tools/install_servers.sh keeps them from starting as services) and its charts.
DEPS_PEERS := mosquitto nats-server rabbitmq-server ejabberd
DEPS_BRIDGE := mosquitto
DEPS_CHARTS := python3-matplotlib
DEPS_FUZZ := clang libclang-rt-dev
DEPS_LINT := clang-format clang-tidy cppcheck
DEPS_FAST := g++ cmake autoconf automake libtool dpkg-dev liblz4-dev

.PHONY: deps deps-perf deps-test deps-fuzz deps-lint fast-deps
deps:
	@tools/install_packages.sh $(DEPS)
deps-test:
	@tools/install_packages.sh $(DEPS) $(DEPS_TEST)
	@tools/install_servers.sh $(DEPS_BRIDGE) $(DEPS_PROXIES)
deps-perf:
	@tools/install_packages.sh $(DEPS) $(DEPS_PERF)
deps-fuzz:
	@tools/install_packages.sh $(DEPS) $(DEPS_FUZZ)
deps-lint:
	@tools/install_packages.sh $(DEPS) $(DEPS_TEST) $(DEPS_LINT)

# Release builds of RocksDB and wolfSSL from Debian's sources, in build/deps, which `make clean` leaves alone; every later build
# links them (FAST_DEPS=no: Debian's own). Some fifteen minutes once.
fast-deps: deps
	@tools/install_packages.sh $(DEPS_FAST)
	@tools/build_deps.sh build/deps
