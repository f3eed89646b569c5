"""tests/e2e/test_lines.py - how a suite of unittest says its results: a line per test, as tests/run counts them.

  if __name__ == "__main__":
      test_lines.main()

The details of failures follow at the end, on stderr."""
import unittest


class Lines(unittest.TextTestResult):
    def addSuccess(self, test):
        super().addSuccess(test)
        say("ok", test)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        say("skip", test, f": {reason}")

    def addFailure(self, test, err):
        super().addFailure(test, err)
        say("not ok", test)

    def addError(self, test, err):
        """A test, or the set-up of a class or module."""
        super().addError(test, err)
        say("not ok", test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            say("not ok", subtest)


def say(result, test, more=""):
    print(result, test.id().removeprefix("__main__.") + more, flush=True)


def main():
    # Without unittest's own dots and letters, which would stand before our lines.
    unittest.main(testRunner=unittest.TextTestRunner(resultclass=Lines, verbosity=0))
