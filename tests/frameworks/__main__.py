"""Run the examples of ``dags/frameworks`` under interruption, each in its framework's environment."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.frameworks.examples import EXAMPLES
from tests.frameworks.played import play, table


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, one after the other, print the table, and return 0 if all of it passed."""
    parser = argparse.ArgumentParser(prog="python -m tests.frameworks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all ({', '.join(EXAMPLES)})")
    parser.add_argument("--kills", type=int, metavar="N", help="of each; 0 for a rehearsal alone; default: its own")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default: %(default)s")
    parser.add_argument("--bounded", action="store_true", help="a rehearsal of one interruption, as in CI")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the table there, too")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(EXAMPLES)
    if unknown:
        parser.error(f"{', '.join(sorted(unknown))}: there are {', '.join(EXAMPLES)}")
    played = []
    for name in options.names or EXAMPLES:
        one = play(EXAMPLES[name], say, kills=options.kills, seed=options.seed, bounded=options.bounded)
        say(f"{name}: {'passed' if one.passed else 'FAILED'} in {one.seconds:.0f} s")
        played.append(one)
    found = table(played)
    print(found)
    if options.output:
        options.output.write_text(f"{found}\n")
    return 0 if all(one.passed for one in played) else 1


def say(line: str) -> None:
    """Tell how it continues, apart from the result."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
