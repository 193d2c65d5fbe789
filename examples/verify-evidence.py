"""Checks what `headwater evidence` wrote, with nothing of Headwater: verify-evidence.py FILE VERIFIER_KEY (docs/evidence.md)."""
import base64, hashlib, re, sys
import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
pack = lambda value: msgpack.packb(value, use_bin_type=True)
unpack = lambda data: msgpack.unpackb(data, raw=False, strict_map_key=False)
def must(holds, what):
    if not holds: sys.exit("NOT PROVEN: " + what)

def plain(column):  # Columns: see format.md.
    numbers, value, shift = [], 0, 0
    for byte in column:
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128: numbers.append(value); value = shift = 0
    return numbers
def deltas(column):
    numbers = [0]
    for one in plain(column): numbers.append(numbers[-1] + (-(one + 1) // 2 if one % 2 else one // 2))
    return numbers[1:]
def runs(column): return [v for v, n in zip(*[iter(plain(column))] * 2) for _ in range(n)]

evidence = unpack(open(sys.argv[1], "rb").read())
name, key_id, key = re.fullmatch(r"([^+\s]+)\+([0-9a-f]{8})\+(\S+)", sys.argv[2]).groups()
text, signatures = evidence["note"].split("\n\n", 1)
signed = [base64.b64decode(line.split(" ")[2]) for line in signatures.splitlines() if line.split(" ")[1] == name]
signed = [one[4:] for one in signed if one[:4].hex() == key_id]
must(signed, "the key has not signed the checkpoint")
Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:]).verify(signed[0], (text + "\n").encode())
origin, size, root = text.split("\n")[:3]
must(origin == "headwater/" + evidence["log"], "the checkpoint is of another log")

events, mains, stages = {}, {}, {}
for e in evidence["events"]:
    digest = sha(b"\1", e["previous"], pack([1, e["stream"], e["revision"], e["id"], e["type"], e["data"]]))
    node, last, hashed = e["leaf"], int(size) - 1, sha(b"\0", pack([e["stream"], e["revision"], digest]))
    for sibling in e["proof"]:  # RFC 9162, 2.1.3.2
        if node % 2 or node == last:
            hashed = sha(b"\1", sibling, hashed)
            while node and node % 2 == 0: node, last = node // 2, last // 2
        else: hashed = sha(b"\1", hashed, sibling)
        node, last = node // 2, last // 2
    must(last == 0 and hashed == base64.b64decode(root), f'{e["stream"]}@{e["revision"]} is not in the tree that was signed')
    data = events[e["stream"], e["revision"]] = unpack(e["data"])
    if "first" in data: mains.setdefault(e["stream"], []).append(data)
    if e["type"] == "PipelineDeployed": stages[data["deployment"]] = data["stages"]

def find(stream, n):  # The event that has N, and N's row in it.
    event = next((d for d in mains.get(stream, []) if d["first"] <= n < d["first"] + d["count"]), None)
    must(event, f"{stream}@{n} is on the way, and in none of the events")
    return event, n - event["first"]
def names(stream, event): return [s["name"] for s in stages[event["deployment"]] if s["segment"] == stream.split(".")[1]]
def ahead(event, at):  # For each row of a stage the row ahead that it was made of.
    columns = event["stages"][at]
    counts = runs(columns["results"]) if "results" in columns else [1] * len(inputs(event, columns["input"]))
    return [row for row, count in enumerate(counts) for _ in range(count)]
def inputs(event, at):  # For each row of a stage the input that it descends from.
    if at < 0: return list(range(event["count"]))
    before = inputs(event, event["stages"][at]["input"])
    return [before[row] for row in ahead(event, at)]
def at_stage(event, at, i): return [(at, row) for row, of in enumerate(inputs(event, at)) if of == i]
def parent(stream, event, i):  # The stage and row upstream that an input was handed on from.
    of = event["streams"][runs(event["upstream"])[i] if "upstream" in event else 0]
    n, k = deltas(event["parents"])[i], plain(event["parentKs"])[i] if "parentKs" in event else 0
    return output(of, n, k)
def output(stream, n, k):
    event, i = find(stream, n)
    if stream.startswith("source_"): return stream, n, -1, i
    leaving = [one for outlet in event["outlets"] for one in at_stage(event, outlet["stage"], i)]
    must(k < len(leaving), f"{stream}@{n}.{k} is not there")
    return stream, n, *leaving[k]

def place(address):  # The stream, N, stage and row that an address stands for; −1 is the stage of a segment's inputs.
    stream, n, k, stage = re.fullmatch(r"(.+?)@(\d+)(?:\.(\d+))?(?:/(.+))?", address).groups()
    if stage is None: return output(stream, int(n), int(k or 0))
    steps = stream.replace("quarantine_", "steps_")
    event, i = find(steps, int(n))
    at = names(steps, event).index(stage)
    if stream != steps: at = event["stages"][at]["input"]  # What the stage was given, and failed at.
    return steps, int(n), *at_stage(event, at, i)[int(k)]

def digest_of(stream, n, at, row):  # As the event says that made it; of what was put back, or is a firing, none does.
    event, i = find(stream, n)
    while at >= 0 and "digests" not in event["stages"][at]: row, at = ahead(event, at)[row], event["stages"][at]["input"]
    if at < 0 and stream.startswith("steps_"):
        return None if "entry" in event or i in deltas(event.get("firings", b"")) else digest_of(*parent(stream, event, i))
    return (event["stages"][at] if at >= 0 else event)["digests"][32 * row :][:32]
def members(stream, columns, row):  # The inputs that a result of a window or join was made of.
    column, more = columns.get("members", b""), columns.get("membersIn", {"revision": 0, "events": 0})
    for at in range(more["events"]): column += events["members_" + stream.split("_", 1)[1], more["revision"] + at]["bytes"]
    numbers, found = iter(plain(column)), []
    for of in range(row + 1 if column else 0):
        found, end = [], 0
        for _ in range(next(numbers)):
            first = end + next(numbers)
            end = first + next(numbers)
            found += range(first, end)
    return found
def put_back(stream, item):  # Where a record stood that was refused; what a door rejected has no digest, and ends the way.
    asked, at = find("retry_" + stream.split("_", 1)[1].split(".")[0], item)
    unit, where = asked["unit"], asked["items"][at]
    quarantine = "quarantine_" + unit.split("_", 1)[1]
    must((quarantine, where["revision"]) in events, f'{quarantine}@{where["revision"]} is on the way, and not there')
    record = events[quarantine, where["revision"]]["records"][where["index"]]
    if "stage" not in where: return put_back(stream, record["item"]) if "item" in record else []
    event, i = find(unit, where["n"])
    known, at = names(unit, event), -1
    if where["stage"] in known: at = event["stages"][known.index(where["stage"])]["input"]
    address = f'{quarantine}@{record["n"]}.{record.get("k", 0)}/{record["stage"]}'
    must(record["n"] == where["n"] and record["stage"] == where["stage"], address + " is not what was asked for")
    must(digest_of(unit, record["n"], at, record["row"]) in (None, sha(record["record"])), address + " is not what was processed")
    print(address, sha(record["record"]).hex(), unpack(record["record"]), record["message"])
    return [(unit, record["n"], at, record["row"])]

def made_of(stream, n, at, row):  # The way, one step of it: what a row was made of. All of it has to be in the file.
    event, i = find(stream, n)
    if stream.startswith("source_"):
        rows = deltas(event["retried"]["rows"]) if "retried" in event else []
        return put_back(stream, deltas(event["retried"]["items"])[rows.index(i)]) if i in rows else []
    if at >= 0:
        columns = event["stages"][at]
        made = [(stream, n, columns["input"], ahead(event, at)[row])]
        before = plain(columns["previous"])[row] if "previous" in columns else 0  # At a reduce: the step before, with its key.
        if before:
            earlier, at_row = find(stream, n + 1 - before)
            made += [(stream, n + 1 - before, *one) for one in at_stage(earlier, at, at_row)]
        return made + [(stream, of, -1, find(stream, of)[1]) for of in members(stream, columns, row) if of != n]
    if i in deltas(event.get("firings", b"")): return []
    if "entry" in event: return put_back(stream, deltas(event["parents"])[i])
    up = parent(stream, event, i)
    above, row = find(*up[:2])
    must(deltas(above["ordinals"])[row] == deltas(event["ordinals"])[i], f"{stream}@{n} is not of {up[0]}@{up[1]}")
    return [up]

way, todo = set(), [place(evidence["record"])]
while todo:
    one = todo.pop()
    if one not in way: way.add(one); todo += made_of(*one)
for address, record in evidence["records"]:  # Each is on the way, and has the digest that its event has at its place.
    must(place(address) in way, address + " is not on the way")
    must(digest_of(*place(address)) == sha(record), address + " is not what was processed")
    print(address, sha(record).hex(), unpack(record))
print(f'{evidence["record"]}: proven by {len(evidence["events"])} events of the {size} signed by {name}')
