# ruff: noqa: E501 - programs are shown on one line each
"""Programs that a sandbox must stop, written for these tests: name -> (statuses that count as stopped, program).

`{dir}` stands for a folder with a `secret.txt` that everyone may write, `{port}` and `{unix}` for a loopback port and an
abstract socket, all of which the test owns and watches. Floods limit themselves, so that a broken sandbox fails the
test instead of taking the machine with it.
"""

STOPPED = ("error", "timeout", "memory", "output_limit", "no_answer", "crashed")
HARMLESS = (*STOPPED, "ok")
"""The program may even finish: what counts is what the test watches."""

ATTACKS = {
    # files
    "write a file": (STOPPED, "open('{dir}/new', 'w').write('x')\nans = 1"),
    "write through os": (STOPPED, "import os\nfd = os.open('{dir}/new', os.O_WRONLY | os.O_CREAT)\nans = fd"),
    "write an unnamed file": (STOPPED, "import os\nans = os.open('{dir}', os.O_RDWR | os.O_TMPFILE)"),
    "read a file": (STOPPED, "ans = open('{dir}/secret.txt').read()"),
    "read by pathlib": (STOPPED, "from pathlib import Path\nans = Path('{dir}/secret.txt').read_text()"),
    "read users": (STOPPED, "ans = open('/etc/passwd').read()[:60]"),
    "list a folder": (STOPPED, "import os\nans = os.listdir('{dir}')"),
    "list the root": (STOPPED, "import os\nans = os.listdir('/')"),
    "enter and read": (STOPPED, "import os\nos.chdir('{dir}')\nans = open('secret.txt').read()"),
    "delete": (STOPPED, "import os\nos.unlink('{dir}/secret.txt')\nans = 1"),
    "truncate": (STOPPED, "import os\nos.truncate('{dir}/secret.txt', 0)\nans = 1"),
    "append": (STOPPED, "open('{dir}/secret.txt', 'a').write('x')\nans = 1"),
    "rename over": (STOPPED, "import os\nos.rename('{dir}/secret.txt', '{dir}/gone')\nans = 1"),
    "link": (STOPPED, "import os\nos.symlink('/etc/hosts', '{dir}/new')\nans = 1"),
    "hard link": (STOPPED, "import os\nos.link('{dir}/secret.txt', '{dir}/new')\nans = 1"),
    "make a folder": (STOPPED, "import importlib\nimportlib.import_module('os').mkdir('{dir}/new')\nans = 1"),
    "make a pipe": (STOPPED, "import os\nos.mkfifo('{dir}/new')\nans = 1"),
    "change rights": (STOPPED, "import os\nos.chmod('{dir}/secret.txt', 0)\nans = 1"),
    "change times": (STOPPED, "import os\nos.utime('{dir}/secret.txt', (1, 1))\nans = 1"),
    "read own memory file": (STOPPED, "ans = open('/proc/self/maps').read()[:99]"),
    "database": (STOPPED, "import sqlite3\nsqlite3.connect('{dir}/new').execute('create table t(a)')\nans = 1"),
    # network
    "tcp": (STOPPED, "import socket\nsocket.create_connection(('127.0.0.1', {port})).send(b'x')\nans = 1"),
    "udp": (STOPPED, "import socket as s\ns.socket(2, 2).sendto(b'x', ('127.0.0.1', {port}))\nans = 1"),
    "abstract socket": (STOPPED, "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0{unix}')\nans = 1"),
    "socket pair": (STOPPED, "import socket\nans = socket.socketpair()"),
    "raw system call": (STOPPED, "import ctypes\nfd = ctypes.CDLL(None).socket(2, 1, 0)\nassert fd >= 0\nans = fd"),
    "look a name up": (STOPPED, "import socket\nans = socket.getaddrinfo('localhost', 80)"),
    # other programs
    "subprocess": (STOPPED, "import subprocess\nsubprocess.run(['/bin/touch', '{dir}/new'])\nans = 1"),
    "os.system": (HARMLESS, "import os\nos.system('/bin/touch {dir}/new')\nans = 1"),
    "os.popen": (STOPPED, "import os\nans = os.popen('/bin/touch {dir}/new').read()"),
    "spawn": (STOPPED, "import os\nos.posix_spawn('/bin/touch', ['touch', '{dir}/new'], {{}})\nans = 1"),
    "replace the process": (STOPPED, "import os\nos.execv('/bin/touch', ['touch', '{dir}/new'])\nans = 1"),
    "libc system": (HARMLESS, "import ctypes\nctypes.CDLL(None).system(b'/bin/touch {dir}/new')\nans = 1"),
    "run from memory": (STOPPED, "import os\nfd = os.memfd_create('x')\nos.execv('/proc/self/fd/%d' % fd, ['x'])\nans = 1"),
    "map code": (STOPPED, "import mmap\nans = len(mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC))"),
    "make memory code": (
        STOPPED,
        "import ctypes, mmap\nm = mmap.mmap(-1, 4096)\na = ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        "assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(a), 4096, 7) == 0\nans = 1",
    ),
    # ways around the language
    "walk the classes": (
        HARMLESS,
        "c = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == '_wrap_close'][0]\n"
        "c.__init__.__globals__['system']('/bin/touch {dir}/new')\nans = 1",
    ),
    "frames of the harness": (
        HARMLESS,
        "import sys\nf = sys._getframe()\nwhile f.f_back:\n    f = f.f_back\n    for k, v in list(f.f_globals.items()):\n"
        "        if k == 'os':\n            v.mkdir('{dir}/new')\nans = 1",
    ),
    "sympify": (HARMLESS, "import sympy\nsympy.sympify(\"__import__('os').system('/bin/touch {dir}/new')\")\nans = 1"),
    # secrets
    "environment": (HARMLESS, "import os\nans = dict(os.environ)"),
    "raw environment": (
        HARMLESS,
        "import ctypes\ne = ctypes.c_char_p.in_dll(ctypes.CDLL(None), 'environ')\nans = ctypes.CDLL(None).getenv(b'X')",
    ),
    "others' environments": (
        HARMLESS,
        "found = []\nfor p in ['self', *range(1, 3000)]:\n    try:\n        found.append(open('/proc/%s/environ' % p).read())\n"
        "    except OSError:\n        pass\nans = found",
    ),
    "others' folders": (
        HARMLESS,
        "import os\nfound = []\nfor p in range(1, 3000):\n    try:\n        found.append(os.readlink('/proc/%d/cwd' % p))\n"
        "    except OSError:\n        pass\nassert found\nans = found",
    ),
    "the heap": (
        HARMLESS,
        "import gc\nword = 'SAND' + 'CASTLE'\nans = [str(o)[:200] for o in gc.get_objects() if word in str(o)[:9999]][:3]",
    ),
    "files of the host": (HARMLESS, "import os\nfound = []\nfor fd in range(3, 64):\n    try:\n"
        "        found.append(os.pread(fd, 99, 0))\n    except OSError:\n        pass\nans = found"),
    # time
    "loop": (STOPPED, "while True:\n    pass"),
    "stubborn loop": (STOPPED, "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"),
    "sleep": (HARMLESS, "import time\ntime.sleep(600)\nans = 1"),
    "wait on a lock": (STOPPED, "import threading\nthreading.Event().wait(600)\nans = threading.Lock().locked()\nx = threading.Lock()\nx.acquire()\nx.acquire()"),
    "power tower": (STOPPED, "ans = len(str(9 ** 9 ** 9))"),
    "number to text": (STOPPED, "import sys\nsys.set_int_max_str_digits(0)\nans = len(str(7 ** 5_000_000))"),
    "signals ignored": (
        STOPPED,
        "import signal\nfor n in range(1, 65):\n    try:\n        signal.signal(n, signal.SIG_IGN)\n"
        "    except (OSError, ValueError):\n        pass\nsignal.alarm(0)\nwhile True:\n    pass",
    ),
    "limits raised": (
        STOPPED,
        "import resource as r\nfor k in range(16):\n    try:\n        r.setrlimit(k, (-1, -1))\n"
        "    except (OSError, ValueError):\n        pass\nwhile True:\n    pass",
    ),
    "pipes closed": (STOPPED, "import os\nos.closerange(0, 256)\nwhile True:\n    pass"),
    "expression": (HARMLESS, "import re\nans = bool(re.match(r'(a+)+$', 'a' * 40 + 'b'))"),
    "endless text": (STOPPED, "class A:\n    def __str__(self):\n        while True:\n            pass\nans = A()"),
    "endless error": (STOPPED, "class E(Exception):\n    def __str__(self):\n        while True:\n            pass\nraise E"),
    "loop in C": (STOPPED, "ans = sum(range(10 ** 12))"),
    "factors": (STOPPED, "import sympy\nans = sympy.factorint(2 ** 401 - 1 + 2 ** 400)"),
    # memory
    "blocks": (STOPPED, "b = []\nfor _ in range(24):\n    b.append(b'x' * (64 << 20))\nans = len(b)"),
    "list": (STOPPED, "ans = len([0] * (3 * 10 ** 8))"),
    "shift": (STOPPED, "ans = (1 << (1 << 34)).bit_length()"),
    "long text": (STOPPED, "ans = len('ab' * 700_000_000)"),
    "array": (STOPPED, "import numpy as np\nans = np.ones(3 * 10 ** 8).sum()"),
    "mapped": (STOPPED, "import mmap\nans = len(mmap.mmap(-1, 2 << 30))"),
    # output
    "print": (("output_limit",), "for _ in range(200):\n    print('A' * (1 << 20))\nans = 'printed'"),
    "print a little at a time": (("output_limit",), "for i in range(60000):\n    print(i)\nans = 'printed'"),
    "raw output": (HARMLESS, "import os\nfor _ in range(50):\n    os.write(1, b'A' * (1 << 20))\n    os.write(2, b'A' * (1 << 20))\nans = 1"),
    "error stream": (STOPPED, "import sys\nfor _ in range(50):\n    sys.stderr.write('A' * (1 << 20))\nans = 1"),
    "long answer": (("output_limit",), "ans = 'x' * 10_000_000"),
    "long error": (("error",), "raise ValueError('x' * 10_000_000)"),
    "flood of the result": (STOPPED, "import os\nfor _ in range(50):\n    os.write(3, b'A' * (1 << 20))\nans = 1"),
    # processes
    "kill the parent": (STOPPED, "import os\nos.kill(os.getppid(), 9)\nans = 1"),
    "kill everyone": (STOPPED, "import os\nos.kill(-1, 15)\nans = 1"),
    "kill by number": (HARMLESS, "import os\nfor p in range(2, 3000):\n    try:\n        os.kill(p, 0)\n        found = p\n"
        "    except OSError:\n        pass\nans = found"),
    "kill by a file's owner": (
        STOPPED,
        "import fcntl, os\nfcntl.fcntl(3, fcntl.F_SETOWN, 1)\nfcntl.fcntl(3, 10, 9)\nfcntl.fcntl(3, fcntl.F_SETFL, fcntl.FASYNC)\nans = 1",
    ),
    "others' limits": (STOPPED, "import resource as r, os\nr.prlimit(1, r.RLIMIT_CPU, (1, 1))\nans = 1"),
    "trace": (STOPPED, "import ctypes\nassert ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0\nans = 1"),
    "late threads": (
        STOPPED,
        "import threading, time\ndef late():\n    while True:\n        open('{dir}/new', 'w')\n"
        "for _ in range(3):\n    threading.Thread(target=late).start()\nans = 1",
    ),
    "forks": (STOPPED, "import os\nfor _ in range(8):\n    if os.fork() == 0:\n        while True:\n            pass\nans = 'forked'"),
    "survivor": (STOPPED, "import os\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        while True:\n            pass\nans = 'forked'"),
    "pools": (STOPPED, "from concurrent.futures import ProcessPoolExecutor as P\nans = list(P(2).map(abs, [1, 2]))"),
    # leaving, crashing
    "leave": (("crashed",), "import os\nos._exit(0)"),
    "exit code": (("error",), "import sys\nsys.exit(3)"),
    "abort": (STOPPED, "import os\nos.abort()"),
    "bad pointer": (STOPPED, "import ctypes\nans = ctypes.string_at(8)"),
    "deep calls": (STOPPED, "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(n):\n    return f(n + 1)\nf(0)"),
    "deep calls in C": (STOPPED, "x = []\nfor _ in range(10 ** 6):\n    x = [x]\nans = str(x)"),
    "parentheses": (STOPPED, "ans = " + "(" * 3000 + "1" + ")" * 3000),
    "signs": (STOPPED, "ans = " + "-" * 200_000 + "1"),
    "brackets": (STOPPED, "ans = " + "[" * 100_000),
    "many names": (HARMLESS, "\n".join(f"v{n} = {n}" for n in range(20_000)) + "\nans = v7"),
    # what is left for the next program, and for the host
    "patched builtins": (
        HARMLESS,
        "import builtins, json, math\nbuiltins.print = builtins.repr = builtins.str = builtins.len = lambda *a, **k: '666'\n"
        "builtins.isinstance = lambda *a: False\nmath.sqrt = lambda x: 666\njson.dumps = lambda *a, **k: '666'\nans = 1",
    ),
    "seed": (HARMLESS, "import random\nrandom.seed(99)\nrandom.random = lambda: 666\nans = 1"),
    "pickled result": (HARMLESS, "class R:\n    def __reduce__(self):\n        return (open, ('{dir}/new', 'w'))\nans = R()"),
    "pickle into the channel": (
        STOPPED,
        "import os, pickle\nclass R:\n    def __reduce__(self):\n        return (open, ('{dir}/new', 'w'))\n"
        "for fd in range(64):\n    try:\n        os.write(fd, pickle.dumps(R()))\n    except OSError:\n        pass\nos._exit(0)",
    ),
    "forged status": (
        STOPPED,
        "import os, json\nfor fd in range(64):\n    try:\n        os.write(fd, json.dumps(dict(word='unsupported', answer='7',"
        " type='int', error='', stdout='')).encode())\n    except OSError:\n        pass\nos._exit(0)",
    ),
    "forged frame": (STOPPED, "import os\nfor fd in range(64):\n    try:\n        os.write(fd, b'\\x00\\x00\\x00\\x02{{}}' * 9)\n"
        "    except OSError:\n        pass\nos._exit(0)"),
    "nested report": (STOPPED, "import os\nos.write(3, b'[' * 400000)\nos._exit(0)"),
    "report with a number": (STOPPED, "import os\nos.write(3, b'{{\"word\": \"ok\", \"answer\": ' + b'9' * 9999 + b'}}')\nos._exit(0)"),
}  # fmt: skip
