"""Checks what `headwater evidence` wrote, with nothing of Headwater: verify-evidence.py FILE VERIFIER_KEY (docs/evidence.md)."""
import base64, hashlib, re, sys, uuid
import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
pack = lambda value: msgpack.packb(value, use_bin_type=True)
unpack = lambda data: msgpack.unpackb(data, raw=False, strict_map_key=False)
def must(holds, what):
    if not holds: sys.exit("NOT PROVEN: " + what)
sys.excepthook = lambda kind, error, _: print(f"NOT PROVEN: {kind.__name__}: {error}", file=sys.stderr)  # Whatever else is amiss.

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

def canonical(value):  # Records: see format.md. A value has one encoding, so that nothing can stand in a file twice, or as another type.
    if isinstance(value, dict): return {key: canonical(value[key]) for key in sorted(value, key=str.encode)}
    if isinstance(value, list): return [canonical(one) for one in value]
    if type(value) not in (int, float) or value % 1 != 0: return value
    return int(value) if -2**31 <= value < 2**32 else float(value)

raw = open(sys.argv[1], "rb").read()
evidence = unpack(raw)
must(pack(canonical(evidence)) == raw, "the file is not canonical: it was cut or changed")
must(len(evidence) == 7 and type(evidence["records"]) is type(evidence["events"]) is list and pack([evidence["headwater"], evidence["v"]]) == pack(["evidence", 1]), "the file is no evidence in version 1")
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
    stream, revision, node, last = e["stream"], e["revision"], e["leaf"], int(size) - 1
    where = f"{stream}@{revision:.0f}"
    must(len(e) == 8 and (stream, revision) not in events, where + " is there twice, or has more than an event has")
    named = hashlib.sha1(bytes.fromhex("8f0bd8f65a0a5b0f9d3e6c1f3a0e7b52") + f"{stream}\0{revision:.0f}\0".encode() + sha(e["data"]))
    must(e["id"] == str(uuid.UUID(bytes=named.digest()[:16], version=5)), where + " does not have the id of its content")
    hashes = [e["previous"], *e["proof"]]  # Of another length they could hold a part of what is hashed after them.
    must(type(e["proof"]) is list and all(type(one) is bytes and len(one) == 32 for one in hashes), where + " has hashes that are none")
    must(type(node) in (int, float) and 0 <= node <= last and node % 1 == 0, where + " has a leaf that the tree does not have")
    digest = sha(b"\1", e["previous"], pack([1, stream, revision, e["id"], e["type"], e["data"]]))
    hashed = sha(b"\0", pack([stream, revision, digest]))
    for sibling in e["proof"]:  # RFC 9162, 2.1.3.2
        must(last > 0, where + " has a proof that is too long")
        if node % 2 or node == last:
            hashed = sha(b"\1", sibling, hashed)
            while node and node % 2 == 0: node, last = node // 2, last // 2
        else: hashed = sha(b"\1", hashed, sibling)
        node, last = node // 2, last // 2
    must(last == 0 and hashed == base64.b64decode(root), where + " is not in the tree that was signed")
    data = events[stream, revision] = unpack(e["data"])
    if "first" in data: mains.setdefault(stream, []).append(data)
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

def digest_of(stream, n, at, row):  # As the event says that made it; of what was put back, or is a firing, none does.
    event, i = find(stream, n)
    while at >= 0 and "digests" not in event["stages"][at]: row, at = ahead(event, at)[row], event["stages"][at]["input"]
    if at < 0 and stream.startswith("steps_"):
        return None if "entry" in event or i in deltas(event.get("firings", b"")) else digest_of(*parent(stream, event, i))
    return (event["stages"][at] if at >= 0 else event)["digests"][32 * row :][:32]
def members(column, row):  # The inputs that a result of a window or join was made of.
    numbers, found = iter(plain(column)), []
    for of in range(row + 1):
        found, end = [], 0
        for _ in range(next(numbers)):
            first = end + next(numbers)
            end = first + next(numbers)
            found += range(first, end)
    return found
def inputs_of(stream, ns): return [(stream, n, -1, find(stream, n)[1]) for n in ns]
def beside(kind, stream): return kind + "_" + stream.split("_", 1)[1]
def address_of(stream, n, at, row):
    if at < 0: return f"{stream}@{n}"
    event, i = find(stream, n)
    return f"{stream}@{n}.{at_stage(event, at, i).index((at, row))}/{names(stream, event)[at]}"

def quarantined(event):  # Revisions of the events that hold what stages refused of this one's inputs.
    of = event.get("quarantine", {"revision": 0, "events": 0})
    return range(of["revision"], of["revision"] + of["events"])
def before(unit, record):  # Where what a stage failed at had been before, and its address.
    event, i = find(unit, record["n"])
    known, at = names(unit, event), -1
    if record["stage"] in known: at = event["stages"][known.index(record["stage"])]["input"]
    k = at_stage(event, at, i).index((at, record["row"]))
    return (unit, record["n"], at, record["row"]), f'{beside("quarantine", unit)}@{record["n"]}.{k}/{record["stage"]}'
def refused(unit, record):  # What a record was made of that a stage failed at; what it failed at may be a firing.
    place, address = before(unit, record)
    must("firing" in record or digest_of(*place) in (None, sha(record["record"])), address + " is not what was processed")
    print(address, sha(record["record"]).hex(), unpack(record["record"]), record["message"])
    column = record.get("firing", {}).get("members")
    return [place] if column is None else inputs_of(unit, members(column, 0))
def put_back(stream, item):  # What a record was made of that was put back; what a door rejected has no digest, and ends the way.
    asked, at = find(beside("retry", stream).split(".")[0], item)
    unit, where = asked["unit"], asked["items"][at]
    key = beside("quarantine", unit), where["revision"]
    record = events[key]["records"][where["index"]]
    if "stage" not in where: return put_back(stream, record["item"]) if "item" in record else []
    meant = key[1] in quarantined(find(unit, where["n"])[0]) and (record["n"], record["stage"]) == (where["n"], where["stage"])
    must(meant, f"{key[0]}@{key[1]} is not what was asked for")
    return refused(unit, record)

def begin(address):  # Where the way begins: stream, N, stage and row; −1 is the stage of a segment's inputs.
    parts = re.fullmatch(r"((?:source|steps|quarantine|retry)_[^@\s]+)@(0|[1-9][0-9]*)(?:\.(0|[1-9][0-9]*)(?:/([a-z0-9-]+))?)?", address)
    must(parts, address + " is no address")
    stream, n, k, stage = parts[1], int(parts[2]), parts[3] and int(parts[3]), parts[4]
    if stream.startswith("retry_") and k is None: return put_back(stream, n)
    unit = re.sub("^quarantine_", "steps_", stream)
    if stream == unit and k is None: return inputs_of(stream, [n])
    must(unit.startswith("steps_") and k is not None, address + " is not there")
    if stream == unit and stage is None: return [output(stream, n, k)]
    event, i = find(unit, n)
    for at, known in enumerate(names(unit, event)):
        if stream == unit and known == stage and k < len(at_stage(event, at, i)): return [(unit, n, *at_stage(event, at, i)[k])]
    meant = beside("quarantine", address)  # No result of it, but what it failed at.
    for revision in quarantined(event):
        for record in events.get((beside("quarantine", unit), revision), {"records": []})["records"]:
            if before(unit, record)[1] == meant: return refused(unit, record)
    must(False, address + " is not there")

def made_of(stream, n, at, row):  # The way, one step of it: what a row was made of. All of it has to be in the file.
    event, i = find(stream, n)
    must(event["deployment"] in stages, f"the deployment of {stream}@{n} is not there")
    if stream.startswith("source_"):
        rows = deltas(event["retried"]["rows"]) if "retried" in event else []
        return put_back(stream, deltas(event["retried"]["items"])[rows.index(i)]) if i in rows else []
    if at >= 0:
        columns = event["stages"][at]
        more = columns.get("membersIn", {"revision": 0, "events": 0})
        pieces = [events[beside("members", stream), more["revision"] + of]["bytes"] for of in range(more["events"])]
        column = columns.get("members", b"".join(pieces))
        if column: return inputs_of(stream, members(column, row))
        made = [(stream, n, columns["input"], ahead(event, at)[row])]
        back = plain(columns["previous"])[row] if "previous" in columns else 0  # At a reduce: the step before, with its key.
        if back == 0: return made
        if back == 1: return made + [(stream, n, at, row - 1)]
        earlier, of = find(stream, n + 1 - back)
        last = at_stage(earlier, names(stream, earlier).index(names(stream, event)[at]), of)[-1]
        return made + [(stream, n + 1 - back, *last)]
    if i in deltas(event.get("firings", b"")): return []
    if "entry" in event: return put_back(stream, deltas(event["parents"])[i])
    up = parent(stream, event, i)
    above, row = find(*up[:2])
    must(deltas(above["ordinals"])[row] == deltas(event["ordinals"])[i], f"{stream}@{n} is not of {up[0]}@{up[1]}")
    return [up]

way, todo = set(), begin(evidence["record"])
while todo:
    one = todo.pop()
    if one not in way: way.add(one); todo += made_of(*one)
made = {address_of(*one): one for one in way if one[2] >= 0 or one[0].startswith("source_")}  # An input is its parent's record.
for address, record in evidence["records"]:  # Each is on the way, once, and has the digest that its event has at its place.
    must(address in made, address + " is there twice, or not on the way")
    must(digest_of(*made.pop(address)) == sha(record), address + " is not what was processed")
    print(address, sha(record).hex(), unpack(record))
print(f'{evidence["record"]}: proven by {len(evidence["events"])} events of the {size} signed by {name}; bytes of {len(evidence["records"])} records')
