"""Mutants that nothing can choose at run time: each written into a copy of the sources by itself,
built, and tried against the crate's unit tests, those of its own module first."""

import pathlib
import re

from build import Build, Tree
from listing import Mutant, Sources
from trials import Runner, module_of

# Built again and again with one line changed: what did not change is not compiled twice.
PROFILE = {"CARGO_INCREMENTAL": "1", "CARGO_PROFILE_DEV_OPT_LEVEL": "0"}
EVERY = re.compile("")
# Processor time for all unit tests, many times what they take.
SECONDS = 200.0


class Alone:
    """A copy of the sources as they are now, in which the tests pass; one file at a time is changed."""

    def __init__(self, root: pathlib.Path, work: pathlib.Path, features: str):
        work.mkdir(exist_ok=True)
        self.tree, self.sources = Tree(root, work, PROFILE), Sources(root)
        self.build = Build(self.tree, [], set(), set(), features)
        self.tree.copy({})
        outcome, by = self.tried(own="")
        if outcome != "missed":
            raise SystemExit(f"without a mutant: {outcome} {by}")

    def outcome(self, mutant: Mutant) -> tuple[str, str]:
        text, file = self.sources.text(mutant.file), self.tree.path / mutant.file
        file.write_text(text[: mutant.start] + mutant.replacement + text[mutant.end :])
        try:
            return self.tried(module_of(mutant))
        finally:
            file.write_text(text)

    def tried(self, own: str) -> tuple[str, str]:
        if self.build.errors(["test", "--no-run", "--lib"]):
            return "unviable", ""
        runner = Runner(self.build.programs(without=EVERY), self.tree.path)
        tests = [test.name for test in runner.tests()]
        first = [name for name in tests if name.startswith(own)]
        for names in filter(None, [first, sorted(set(tests) - set(first))]):
            run = runner.run("unit", names, {}, SECONDS)
            if not run.passed:
                return "timeout" if run.late else "caught", f"unit::{run.failed}"
        return "missed", f"{len(tests)} unit tests, by itself"
