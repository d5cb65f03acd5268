"""Run the benchmarks one after another: `python -m benchmarks [NAME]`. Each writes `benchmarks/results/NAME.json`.

Quiet machines only: nothing else should be running. A name is that of a result file, such as sampling_50ms.
"""

import re
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent


def scripts() -> dict[str, Path]:
    """Return result name -> the script that makes it, read from the first lines of each script."""
    found = {}
    for path in sorted(FOLDER.glob("bench_*.py")):
        usage = re.search(r"python benchmarks/bench_\w+\.py (.+)", path.read_text(encoding="utf-8"))
        for name in re.findall(r"\[([a-z0-9_]+)\]", usage[1] if usage else ""):
            found[name] = path
    return found


def main() -> int:
    """Run one benchmark, or all."""
    known = scripts()
    wanted = sys.argv[1:] or list(known)
    for name in wanted:
        if name not in known:
            print(f"bench: no benchmark {name!r}; expected one of {', '.join(known)}", file=sys.stderr)
            return 2
        done = subprocess.run([sys.executable, str(known[name]), name], check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
