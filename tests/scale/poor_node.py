"""A Ray node of this machine that lacks something: ADDRESS landlock | without:MODULE. Ends when its parent does."""

import os
import platform
import sys
from pathlib import Path

from potstill.sandbox import lockdown

ADDRESS, LACK, FOLDER = sys.argv[1:]
if LACK == "landlock":
    numbers = (lockdown.LANDLOCK_CREATE, lockdown.LANDLOCK_ADD, lockdown.LANDLOCK_RESTRICT)
    code = lockdown._prologue(platform.machine())
    for number in numbers:
        code += [(lockdown.EQUAL, 0, 1, number), (lockdown.RETURN, 0, 0, lockdown.ABSENT)]
    lockdown.Filter([*code, (lockdown.RETURN, 0, 0, lockdown.ALLOW)]).install()
else:
    module = LACK.removeprefix("without:")
    site = f"""
from importlib.machinery import PathFinder

found = PathFinder.find_spec
PathFinder.find_spec = lambda name, *rest: None if name == {module!r} else found(name, *rest)
"""
    Path(FOLDER, "sitecustomize.py").write_text(site, encoding="utf-8")
    os.environ["PYTHONPATH"] = FOLDER
lockdown.prctl(lockdown.PR_SET_PDEATHSIG, 15)
ray = str(Path(sys.executable).with_name("ray"))
store = str(80 << 20)
os.execv(ray, [ray, "start", f"--address={ADDRESS}", "--num-cpus=1", f"--object-store-memory={store}", "--block"])
