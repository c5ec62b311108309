"""Tests run against mutants: first each test alone, to see what it reaches; then each mutant
against the tests that reach its function, the likeliest and quickest first."""

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import re
import resource
import signal
import subprocess
import threading

from listing import Mutant

# A test that takes longer than this many seconds alone is not tried against mutants.
SLOWEST_SECONDS = 30.0
# Processor time a test may take with a mutant: so many times what it took alone, and some seconds
# for tests that took next to nothing. By the clock it may take many times more: machines are busy.
PATIENCE = 3.0
PATIENCE_SECONDS = 5.0
BUSY = 60.0
# Tests tried one by one before the rest, which run program by program: unit tests of the same module,
# what killed others of the same function or file, and the quickest.
SINGLES = 4
# How long all tests together may take in the first round. What lives on waits until the others are
# decided: survivors take longest.
FIRST_ROUND_SECONDS = 2.0
# A mutant that never stops allocating ends here.
MEMORY_BYTES = 6 << 30
# Bodies that are copied make frames larger than those of the sources.
STACK_BYTES = 64 << 20
FAILED = re.compile(r"test (\S+).* \.\.\. FAILED$")


@dataclasses.dataclass(frozen=True)
class Test:
    program: str
    name: str

    def __str__(self) -> str:
        return f"{self.program}::{self.name}"


@dataclasses.dataclass(frozen=True)
class Run:
    """How tests went: whether all passed, whether they were ended for their time, the first that
    failed, and the seconds of processor time they took."""

    passed: bool
    late: bool
    failed: str | None
    seconds: float


class Runner:
    """Starts the test programs of the copy."""

    def __init__(self, programs: dict[str, str], tree: pathlib.Path):
        self.programs, self.crate = programs, tree / "attestation"

    def tests(self) -> list[Test]:
        found = []
        for program, path in sorted(self.programs.items()):
            every, ignored = (self.names(path, more) for more in ([], ["--ignored"]))
            found += [Test(program, name) for name in every if name not in ignored]
        return found

    def names(self, path: str, more: list[str]) -> list[str]:
        command = [path, "--list", "--format", "terse", *more]
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=self.crate)
        lines = done.stdout.splitlines()
        return [line.removesuffix(": test") for line in lines if line.endswith(": test")]

    def run(self, program: str, names: list[str], extra: dict[str, str], seconds: float) -> Run:
        """Runs tests of one program in one process, which may take so many seconds of processor
        time."""
        command = [self.programs[program], "--exact", "--test-threads=1", *names]
        environment = os.environ | extra | {
            "CARGO_MANIFEST_DIR": str(self.crate),
            "RUST_MIN_STACK": str(STACK_BYTES),
            "RUST_BACKTRACE": "0",
        }
        child = subprocess.Popen(
            command,
            cwd=self.crate,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        resource.prlimit(child.pid, resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.prlimit(child.pid, resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        return self.watch(child, seconds * BUSY)

    def watch(self, child: subprocess.Popen, seconds: float) -> Run:
        """Waits for a program, by the clock at most so many seconds, and ends it at its first test
        that fails."""
        end = threading.Timer(seconds, os.killpg, (child.pid, signal.SIGKILL))
        end.start()
        failed = next((found[1] for line in child.stdout if (found := FAILED.match(line))), None)
        end.cancel()
        if failed:
            os.killpg(child.pid, signal.SIGKILL)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        child.stdout.close()
        late = child.returncode in (-signal.SIGXCPU, -signal.SIGKILL) and not failed
        return Run(child.returncode == 0, late, failed, used.ru_utime + used.ru_stime)


class Coverage:
    """How much processor time each test takes and which functions and constants it reaches, by
    number."""

    def __init__(self, file: pathlib.Path, programs: dict[str, str]):
        self.file = file
        self.builds = {
            program: hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:16]
            for program, path in programs.items()
        }
        self.seconds: dict[Test, float] = {}
        self.reached: dict[Test, set[int]] = {}
        self.failing: set[Test] = set()
        for line in file.read_text().splitlines() if file.exists() else []:
            entry = json.loads(line)
            if self.builds.get(entry["program"]) == entry["build"]:
                self.take(entry)

    def take(self, entry: dict) -> None:
        test = Test(entry["program"], entry["test"])
        self.seconds[test] = entry["seconds"]
        self.reached[test] = set(entry["reached"])
        if not entry["passed"]:
            self.failing.add(test)

    def measure(self, runner: Runner, test: Test) -> None:
        note = self.file.with_suffix(f".{threading.get_ident()}")
        note.unlink(missing_ok=True)
        run = runner.run(test.program, [test.name], {"BULLA_MUTANTS_REACHED": str(note)}, 600.0)
        reached = sorted({int(n) for n in note.read_text().split()}) if note.exists() else []
        note.unlink(missing_ok=True)
        entry = {
            "build": self.builds[test.program],
            "program": test.program,
            "test": test.name,
            "seconds": round(run.seconds, 3),
            "passed": run.passed,
            "reached": reached,
        }
        with self.file.open("a") as out:
            out.write(json.dumps(entry) + "\n")
        self.take(entry)

    def reaching(self, owner: int) -> list[Test]:
        """The tests that may tell about this owner, quickest first."""
        fit = (
            test
            for test, reached in self.reached.items()
            if owner in reached
            and test not in self.failing
            and self.seconds[test] <= SLOWEST_SECONDS
        )
        return sorted(fit, key=lambda test: self.seconds[test])


def module_of(mutant: Mutant) -> str:
    """The path of its module, with which the names of the module's unit tests begin."""
    return "::".join(mutant.file.removesuffix(".rs").removesuffix("/mod").split("/")[2:])


class Trials:
    """Tries mutants; remembers which test killed others of the same function and file."""

    def __init__(self, runner: Runner, coverage: Coverage, numbers, only: re.Pattern | None):
        self.runner, self.coverage, self.numbers, self.only = runner, coverage, numbers, only
        self.killers: dict = collections.defaultdict(collections.Counter)
        self.passed: dict[str, set[Test]] = collections.defaultdict(set)

    def learn(self, mutant: Mutant, by: str) -> None:
        """What an earlier run found: this test, still there or not, caught this mutant."""
        test = Test(*by.split("::", 1))
        for place in (self.numbers.owner(mutant), mutant.file):
            self.killers[place][test] += 1

    def outcome(self, mutant: Mutant, limit: float) -> tuple[str, str] | None:
        """`caught`, `timeout` or `missed`, and by which test; nothing where tests that together take
        longer than `limit` seconds are still to be run."""
        owner = self.numbers.owner(mutant)
        tests = self.coverage.reaching(owner)
        if self.only:
            tests = [test for test in tests if self.only.search(str(test))]
        if not tests:
            return "missed", "no test reaches it"
        for group in self.groups(tests, mutant, owner):
            limit -= self.expected(group)
            if limit < 0:
                return None
            outcome, by = self.attempt(mutant, group)
            if outcome:
                for place in (owner, mutant.file):
                    self.killers[place][by] += 1
                return outcome, str(by)
            self.passed[mutant.key].update(group)
        return "missed", f"{len(tests)} tests"

    def groups(self, tests: list[Test], mutant: Mutant, owner: int) -> list[list[Test]]:
        """The tests in the order in which to try them, without those that it survived already."""
        left = [test for test in tests if test not in self.passed[mutant.key]]
        module = module_of(mutant)
        own = [test for test in left if test.program == "unit" and test.name.startswith(module)]
        first = dict.fromkeys(self.likely(self.killers[owner], left) + own[:SINGLES])
        first |= dict.fromkeys(self.likely(self.killers[mutant.file], left) + left[:SINGLES])
        rest = collections.defaultdict(list)
        for test in left:
            if test not in first:
                rest[test.program].append(test)
        return [[test] for test in first] + sorted(rest.values(), key=self.expected)

    def likely(self, killers: collections.Counter, tests: list[Test]) -> list[Test]:
        return [test for test, _ in killers.most_common(2 * SINGLES) if test in tests][:SINGLES]

    def expected(self, group: list[Test]) -> float:
        return sum(self.coverage.seconds[test] for test in group)

    def attempt(self, mutant: Mutant, group: list[Test]) -> tuple[str | None, Test | None]:
        run = self.runner.run(
            group[0].program,
            [test.name for test in group],
            {"BULLA_MUTANT": str(self.numbers.by_mutant[mutant.key])},
            self.expected(group) * PATIENCE + PATIENCE_SECONDS,
        )
        if run.passed:
            return None, None
        by = Test(group[0].program, run.failed) if run.failed else group[0]
        return ("timeout" if run.late else "caught"), by
