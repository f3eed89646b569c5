"""tests/perf/cases.py - runs tables of cases: each table is a generator of (name, got, want); one line a case, as tests/run counts them."""


def check(*tables):
    """The exit status: 0 when all of them are as wanted."""
    failed = 0
    for table in tables:
        for name, got, want in table():
            good = got == want
            failed += not good
            print(f"ok {name}" if good else f"not ok {name}: {got!r}, not {want!r}")
    return 1 if failed else 0
