"""Stand-ins for programs that are not installed: scripts that follow the programs' own protocols.

Each reads what it was given as the real one would, checks it, and finds the lattice of `truth.json` if the spots
that it was given belong to that; the way back from its files to scattering vectors is written here independently.
"""

import json
import stat
import sys

COMMON = """#!{python}
import json, math, os, re, sys, time
truth = json.load(open({truth!r}))
A = truth["direct"]
def belongs(q):
    good = 0
    for v in q:
        f = [sum(a * b for a, b in zip(axis, v)) for axis in A]
        good += all(abs(x - round(x)) < 0.2 for x in f)
    return len(q) > 0 and good >= 0.6 * len(q)
def from_flat(x, y, d, wavelength):
    r = math.sqrt(x * x + y * y + d * d)
    return [x / r / wavelength, y / r / wavelength, (d / r - 1) / wavelength]
def need(condition, what):
    if not condition:
        print("stand-in: input not understood:", what)
        sys.exit(3)
"""

MOSFLM = """
words = dict(line.split(None, 1) for line in sys.stdin.read().splitlines() if " " in line)
need(float(words["DISTANCE"]) == 100 and words["BEAM"].split() == ["0.0", "0.0"], "geometry")
need(open(words["IMAGE"].split()[0], "rb").read(2) == b"{{\\n", "image")
need(truth.get("symbol") is None or words.get("SYMM") == truth["symbol"], "symmetry")
wavelength = float(words["WAVELENGTH"])
index = words["AUTOINDEX"].split()
need(index[:2] == ["DPS", "FILE"] and index[5:7] == ["MAXCELL", "1000"] and index[7] == "REFINE", "AUTOINDEX")
rows = [[float(w) for w in line.split()] for line in open(index[2])][3:]
need(rows.pop()[0] == -999 and all(len(row) == 6 for row in rows), "spots")
if belongs([from_flat(-row[0], row[1], 100, wavelength) for row in rows]):
    B = truth["reciprocal"]
    matrix = [[B[j][2] * wavelength for j in range(3)], [-B[j][0] * wavelength for j in range(3)],
              [-B[j][1] * wavelength for j in range(3)]]
    with open(words["NEWMAT"], "w") as file:
        for row in matrix:
            file.write("".join("%12.8f" % x for x in row) + "\\n")
        file.write("       0.000       0.000       0.000\\n")
        file.write("SYMM " + truth.get("answer", truth.get("symbol") or "P1") + "\\n")
"""

XDS = """
text = open("XDS.INP").read()
words = dict(re.findall(r"([A-Z][-A-Z_]*)= *([^=\\n]*?)(?= *[A-Z][-A-Z_]*=|\\n)", text))
need(words["JOB"] == "IDXREF" and words["DETECTOR_DISTANCE"] == "100" and words["ORGX"] == "1500", "geometry")
need(words["SPACE_GROUP_NUMBER"] == "75" and len(words["UNIT_CELL_CONSTANTS"].split()) == 6, "cell")
need(words["INDEX_ERROR"] == "0.3" and words["INDEX_MAGNITUDE"] == "15", "IDXREF")
need(words["INDEX_QUALITY"] == "0.2", "IDXREF")
rows = [[float(w) for w in line.split()] for line in open("SPOT.XDS")]
need(all(len(row) == 4 and row[2] == 0.5 and row[3] > 0 for row in rows) and len(rows) >= 25, "spots")
wavelength = float(words["X-RAY_WAVELENGTH"])
if belongs([from_flat((x - 1500) * 0.07, (y - 1500) * 0.07, 100, wavelength) for x, y, _, _ in rows]):
    with open("IDXREF.LP", "w") as file:
        file.write(" UNIT CELL PARAMETERS     79.200    79.200    38.000  90.000  90.000  90.000\\n")
        for scale in (1.1, 1.0):  # What comes later is better.
            for name, axis in zip("ABC", A):
                file.write(" COORDINATES OF UNIT CELL %s-AXIS " % name)
                file.write("".join("%10.3f" % (x * scale) for x in axis) + "\\n")
print("!!! ERROR !!! INSUFFICIENT PERCENTAGE (< 50%) OF INDEXED REFLECTIONS")
"""

FELIX = """
lines = open(sys.argv[1]).read().splitlines()
words = dict(line.split(None, 1) for line in lines)
need(words["spacegroup"] == "75" and words["tthrange"] == "0 30" and words["cuts"] == "15 0.001 0.5", "ini")
need(words["orispace"] == "frustum" and words["maxtime"] == "120", "ini")
peaks, result = words["filespecs"].split()
rows = [line.split() for line in open(peaks).read().splitlines()[1:] if not line.startswith("#")]
q = []
for row in rows:
    z, x, y, _, _, size, eta, omega = map(float, row)
    need(abs(math.hypot(x, y, z) - size) < 1e-5 and abs(math.atan2(y, x) - math.radians(eta)) < 1e-4, "peaks")
    q.append([x, y, z])
with open(result, "w") as file:
    file.write("# grain ...\\n")
    if belongs(q):
        for axes in (A, [[1.04 * x for x in axis] for axis in A]):
            file.write("1 " * 12 + " ".join("%.5f %.5f %.5f" % (z, x, y) for x, y, z in axes) + "\\n")
"""

DIRAX = """
need(os.isatty(0) and os.isatty(1), "terminal")
q, shown = [], False
def question(text):
    sys.stdout.write(text)
    sys.stdout.flush()
while True:
    question("Dirax> ")
    line = sys.stdin.readline()
    if not line:
        break
    word, _, rest = line.strip().partition(" ")
    if word == "read":
        rows = [[float(w) for w in row.split()] for row in open(rest)]
        need(rows[0] == [0.5] and all(len(row) == 4 and row[3] == 1 for row in rows[1:]), "spots")
        q = [row[:3] for row in rows[1:]]
    elif word == "go":
        print("searching ...")
        sys.stdout.flush()
        time.sleep(0.2)
    elif word == "acl":
        print("  acl  nH     d    volume")
        print("    1  12  0.01  1234.5")
        print("    7  %d  0.02  9876.5" % len(q))
        question("acl? ")
        shown = sys.stdin.readline().strip() == "7"
    elif word == "cell":
        if shown and belongs(q):
            for i in range(3):
                print(" r%d  " % i + " ".join("%.5f" % A[j][i] for j in range(3)))
        else:
            print("nothing")
"""

HANGS = """
import subprocess
child = subprocess.Popen(["sleep", "1000"])
open({pids!r}, "w").write("%d %d" % (os.getpid(), child.pid))
time.sleep(1000)
"""
ESCAPES = """
reading, writing = os.pipe()
is_daemon = truth["way"] == "daemon"
if os.fork() == 0:
    os.setsid()
    if not is_daemon or os.fork() == 0:
        os.write(writing, b"%d" % os.getpid())
        os.execve("/bin/sleep", ["sleep", "1000"], dict() if is_daemon else os.environ)
    os._exit(0)
if is_daemon:
    os.wait()
open({pids!r}, "w").write("%d %d" % (os.getpid(), int(os.read(reading, 20))))
if truth["ends"] == "hangs":
    time.sleep(1000)
"""
"""Starts something that leaves its session, with and without its parent's end; then hangs, or ends."""
CRASHES = "\nos.kill(os.getpid(), 11)\n"
GARBAGE = """
import random
noise = random.Random(1).randbytes(200000)
for name in ("frame.mat", "IDXREF.LP", "frame.felix"):
    open(name, "wb").write(noise + b"\\n" + b"nan " * 30)
sys.stdout.buffer.write(noise)
"""
ENDLESS = """
while True:
    sys.stdout.write("x" * 1000000 + ">\n")
"""
SCRIPTS = {"mosflm": MOSFLM, "xds": XDS, "felix": FELIX, "dirax": DIRAX}


def install(folder, name, script, truth):
    """Put an executable with this script into a folder."""
    folder.mkdir(exist_ok=True)
    facts = folder / "truth.json"
    facts.write_text(json.dumps(truth))
    path = folder / name
    words = {"python": sys.executable, "truth": str(facts), "pids": str(folder / "pids")}
    path.write_text(fill(COMMON + script, words))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def fill(text, words):
    """Put words into a script, in which all other braces stay."""
    for name, word in words.items():
        text = text.replace("{" + name + "!r}", repr(word)).replace("{" + name + "}", word)
    return text.replace("{{", "{")
