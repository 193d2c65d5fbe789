"""Checks what `headwater evidence` wrote, with nothing of Headwater: verify-evidence.py FILE VERIFIER_KEY (docs/evidence.md)."""
import base64, hashlib, itertools, re, sys
import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
pack = lambda value: msgpack.packb(value, use_bin_type=True)
def must(holds, what):
    if not holds: sys.exit("NOT PROVEN: " + what)

def uvarints(column):
    value = shift = 0
    for byte in column:
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128: yield value; value = shift = 0
def runs(column):
    numbers = list(uvarints(column))
    return [v for v, n in zip(numbers[::2], numbers[1::2]) for _ in range(n)]

evidence = msgpack.unpackb(open(sys.argv[1], "rb").read(), raw=False, strict_map_key=False)
name, key_id, key = re.fullmatch(r"([^+\s]+)\+([0-9a-f]{8})\+(\S+)", sys.argv[2]).groups()
text, signatures = evidence["note"].split("\n\n", 1)
signed = [base64.b64decode(line.split(" ")[2]) for line in signatures.splitlines() if line.split(" ")[1] == name]
signed = [one[4:] for one in signed if one[:4].hex() == key_id]
must(signed, "the key has not signed the checkpoint")
Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:]).verify(signed[0], (text + "\n").encode())
origin, size, root = text.split("\n")[:3]
must(origin == "headwater/" + evidence["log"], "the checkpoint is of another log")

events, refused = {}, []
for e in evidence["events"]:
    digest = sha(b"\1", e["previous"], pack([1, e["stream"], e["revision"], e["id"], e["type"], e["data"]]))
    node, last, hashed = e["leaf"], int(size) - 1, sha(b"\0", pack([e["stream"], e["revision"], digest]))
    for sibling in e["proof"]:  # RFC 9162, 2.1.3.2
        if node % 2 or node == last:
            hashed = sha(b"\1", sibling, hashed)
            while node and node % 2 == 0: node, last = node // 2, last // 2
        else: hashed = sha(b"\1", hashed, sibling)
        node, last = node // 2, last // 2
    must(last == 0 and hashed == base64.b64decode(root), e["stream"] + "@" + str(e["revision"]) + " is not in the tree that was signed")
    data = msgpack.unpackb(e["data"], raw=False, strict_map_key=False)
    if "first" in data: events.setdefault(e["stream"], []).append(data)
    if e["type"] == "RecordsQuarantined": refused += [(e["stream"], one) for one in data["records"]]
    if e["type"] == "PipelineDeployed": events[data["deployment"]] = data["stages"]

def event_of(stream, n):
    event = next((d for d in events.get(stream, []) if d["first"] <= n < d["first"] + d["count"]), None)
    must(event, stream + "@" + str(n) + " is in none of the events")
    return event
def names_of(event, stream): return [s["name"] for s in events[event["deployment"]] if s["segment"] == stream.split(".")[1]]
def rows(columns, ahead):  # What each row of a stage has of the row ahead that it was made of.
    made = runs(columns["results"]) if "results" in columns else itertools.repeat(1)
    return [of for of, count in zip(ahead, made) for _ in range(count)]
def inputs(event, at):  # For each row of a stage the input that it descends from.
    return range(event["count"]) if at < 0 else rows(event["stages"][at], inputs(event, event["stages"][at]["input"]))
def has_digest(columns, row, record): return columns["digests"][32 * row : 32 * row + 32] == sha(record)
def show(address, record, *more): print(address, sha(record).hex(), msgpack.unpackb(record, raw=False, strict_map_key=False), *more)

for address, record in evidence["records"]:  # Each has the digest that its event has at its place.
    stream, n, _, k, stage = re.fullmatch(r"(.+)@(\d+)(\.(\d+)/(.+))?", address).groups()
    event = event_of(stream, int(n))
    row, columns = int(n) - event["first"], event
    if stage:
        at = names_of(event, stream).index(stage)
        row, columns = [r for r, i in enumerate(inputs(event, at)) if i == row][int(k)], event["stages"][at]
    must(has_digest(columns, row, record), address + " is not what was processed")
    show(address, record)

for stream, one in refused:  # What was put back has the digest of the row that its stage had been given.
    steps, address = stream.replace("quarantine_", "steps_"), f'{stream}@{one["n"]}.{one.get("k", 0)}/{one["stage"]}'
    if not any(d["first"] <= one["n"] < d["first"] + d["count"] for d in events.get(steps, [])): continue  # Not on the way.
    event, row = event_of(steps, one["n"]), one["row"]
    names = names_of(event, steps)
    at = event["stages"][names.index(one["stage"])]["input"] if one["stage"] in names else -1
    while at >= 0 and "digests" not in event["stages"][at]:
        columns = event["stages"][at]
        row, at = rows(columns, itertools.count())[row] if "results" in columns else row, columns["input"]
    must(at < 0 or has_digest(event["stages"][at], row, one["record"]), address + " is not what was processed")
    show(address, one["record"], one["message"])
print(f'{evidence["record"]}: proven by {len(evidence["events"])} events of the {size} signed by {name}')
