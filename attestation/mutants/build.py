"""The copy of the workspace with every mutant in it, and the test programs built from it."""

import dataclasses
import json
import os
import pathlib
import re
import subprocess

from listing import PACKAGE, Mutant, Sources
from schemata import Numbers, Place, Rewriter

CRATE = "attestation"
# Tests run thousands of times, so the copy is optimised a little and carries no debug information.
PROFILE = {
    "CARGO_PROFILE_DEV_OPT_LEVEL": "1",
    "CARGO_PROFILE_DEV_DEBUG": "false",
    "CARGO_INCREMENTAL": "0",
}
# Changed code is full of what a lint would say.
LINT = "#![allow(warnings)]\n"


@dataclasses.dataclass
class Tree:
    """A copy of the sources at `root`, made under `work`."""

    root: pathlib.Path
    work: pathlib.Path
    profile: dict[str, str] = dataclasses.field(default_factory=lambda: PROFILE)

    @property
    def path(self) -> pathlib.Path:
        return self.work / "tree"

    def environment(self) -> dict[str, str]:
        target = os.environ.get("CARGO_TARGET_DIR", str(self.work / "target"))
        return self.profile | os.environ | {"CARGO_TARGET_DIR": target}

    def copy(self, rewritten: dict[str, str]) -> None:
        """Brings the copy up to date; files that stay the same keep their time, for cargo's sake."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self.root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        wanted = {name for name in listed.split("\0") if name and (self.root / name).is_file()}
        for name in wanted | set(rewritten):
            text = rewritten.get(name)
            data = (self.root / name).read_bytes() if text is None else text.encode()
            file = self.path / name
            if not file.is_file() or file.read_bytes() != data:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        for file in (self.path / CRATE).rglob("*"):
            name = str(file.relative_to(self.path))
            if file.is_file() and name not in wanted and name not in rewritten:
                file.unlink()
        # Evidence and models that tests look for beside the repository.
        shared, link = self.root.parent / "shared", self.work / "shared"
        if shared.exists() and not link.exists():
            link.symlink_to(shared.resolve())


class Build:
    """Finds which of the mutants with the `wanted` keys compile, and builds all of those at once."""

    def __init__(self, tree: Tree, mutants: list[Mutant], wanted: set[str], unviable: set[str], features: str):
        self.tree, self.mutants, self.features = tree, mutants, features
        self.wanted, self.unviable = self.held(wanted), set(unviable)
        self.sources = Sources(tree.root)
        self.numbers = Numbers.of(mutants, self.sources)
        self.fixed = {m.key for m in mutants if m.key not in self.numbers.owners}
        self.places: dict[str, list[Place]] = {}

    def held(self, wanted: set[str]) -> set[str]:
        """What the build holds. It stays as it was made while it holds all that is wanted."""
        file = self.tree.work / "built.json"
        before = set(json.loads(file.read_text())) if file.exists() else set()
        if not wanted <= before:
            file.write_text(json.dumps(sorted(wanted)))
        return before if wanted <= before else wanted

    def living(self) -> list[Mutant]:
        """The mutants in the build."""
        out = self.fixed | self.unviable
        return [m for m in self.mutants if m.key in self.wanted and m.key not in out]

    def write(self) -> None:
        by_file: dict[str, list[Mutant]] = {}
        for mutant in self.living():
            by_file.setdefault(mutant.file, []).append(mutant)
        rewritten = {}
        for file, mutants in by_file.items():
            rewriter = Rewriter(self.sources.text(file), mutants, self.numbers)
            rewritten[file] = rewriter.rewrite()
            self.places[file] = rewriter.places
        library = f"{CRATE}/src/lib.rs"
        text = rewritten.get(library, self.sources.text(library))
        marker = "\npub mod "
        rewritten[library] = text.replace(marker, f"\n{LINT}pub mod mutant;{marker}", 1)
        rewritten[f"{CRATE}/src/mutant.rs"] = self.numbers.switch()
        self.tree.copy(rewritten)

    def settle(self, say) -> None:
        """Compiles until nothing is left that does not: what the compiler refuses is unviable."""
        self.write()
        while errors := self.errors(["check", "--lib"]) or self.errors(["test", "--no-run", "--lib"]):
            mutants, owners, others = self.blame(errors)
            if not mutants and not owners:
                raise SystemExit("the copy does not compile:\n" + "\n".join(others[:5]))
            self.unviable |= mutants
            if not mutants:
                # What cannot stand in a choice is left to cargo-mutants.
                known = self.numbers.owners
                self.fixed |= {key for key, owner in known.items() if owner in owners}
            say(f"{len(errors)} errors: {len(self.unviable)} unviable, {len(self.fixed)} fixed")
            self.write()

    def blame(self, errors: list[dict]) -> tuple[set[str], set, list[str]]:
        """Whose errors these are: mutants by their keys, owners, and the texts of all others."""
        mutants, owners, others = set(), set(), []
        for error in errors:
            spans = (span for span in error["spans"] if span["is_primary"])
            hits = [hit for span in spans if (hit := self.at(span))]
            named = {place.mutant.key for place in hits if place.mutant}
            mutants |= named
            if not named:
                owners |= {place.owner for place in hits}
            if not hits:
                others.append(error["rendered"])
        return mutants, owners, others

    def at(self, span: dict) -> Place | None:
        """The smallest place around a span; one inside a macro lies where the macro is called."""
        while span["expansion"]:
            span = span["expansion"]["span"]
        line = span["line_start"]
        places = self.places.get(self.file(span["file_name"]), [])
        around = (place for place in places if place.first <= line <= place.last)
        return min(around, key=lambda place: place.last - place.first, default=None)

    def file(self, name: str) -> str:
        """The compiler names files from the workspace's root."""
        path = pathlib.Path(name)
        return str(path.relative_to(self.tree.path)) if path.is_absolute() else name

    def messages(self, arguments: list[str]) -> list[dict]:
        command = ["cargo", *arguments, "-p", PACKAGE, "--features", self.features, "--locked"]
        done = subprocess.run(
            [*command, "--message-format=json"],
            cwd=self.tree.path,
            env=self.tree.environment(),
            capture_output=True,
            text=True,
        )
        found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        if not found:
            raise SystemExit(done.stderr)
        return found

    def errors(self, arguments: list[str]) -> list[dict]:
        found = (m["message"] for m in self.messages(arguments) if m["reason"] == "compiler-message")
        return [e for e in found if e["level"] == "error" and e["spans"]]

    def programs(self, without: re.Pattern) -> dict[str, str]:
        """The crate's test programs: `unit`, and the integration tests by their names."""
        folder = self.tree.path / CRATE / "tests"
        paths = [*folder.glob("*.rs"), *(main.parent for main in folder.glob("*/main.rs"))]
        names = sorted(path.stem for path in paths if not without.search(path.stem))
        chosen = [word for name in names for word in ("--test", name)]
        messages = self.messages(["test", "--no-run", "--lib", *chosen])
        programs = {}
        for message in messages:
            if message["reason"] == "compiler-artifact" and message.get("executable"):
                target = message["target"]
                name = "unit" if "lib" in target["kind"] else target["name"]
                programs[name] = message["executable"]
        if not messages[-1].get("success"):
            raise SystemExit("the tests of the copy do not compile")
        return programs
