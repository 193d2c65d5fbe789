"""What evidence proves of each record in it; verify-evidence.py follows the way, too: verify-evidence-brief.py FILE VERIFIER_KEY."""
import base64, hashlib, re, sys, uuid
import msgpack
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
sha = lambda *parts: hashlib.sha256(b"".join(parts)).digest()
pack, unpack = msgpack.packb, lambda data: msgpack.unpackb(data, strict_map_key=False)
def must(holds, what):
    if not holds: sys.exit("NOT PROVEN: " + what)
def plain(column):  # Columns: see docs/format.md.
    numbers, value, shift = [], 0, 0
    for byte in column:
        value, shift = value | (byte & 127) << shift, shift + 7
        if byte < 128: numbers.append(value); value = shift = 0
    return numbers
def inputs(event, at):  # For each row of a stage the input that it descends from.
    if at < 0: return list(range(event["count"]))
    columns, before = event["stages"][at], inputs(event, event["stages"][at]["input"])
    runs = plain(columns["results"]) if "results" in columns else [1, len(before)]
    counts = [count for count, rows in zip(runs[::2], runs[1::2]) for _ in range(rows)]
    return [i for i, count in zip(before, counts) for _ in range(count)]
evidence = unpack(open(sys.argv[1], "rb").read())
must([evidence["headwater"], evidence["v"]] == ["evidence", 1] and "\n" not in evidence["record"], "the file is no evidence in version 1")
name, key_id, key = re.fullmatch(r"([^+\s]+)\+([0-9a-f]{8})\+(\S+)", sys.argv[2]).groups()
text, signatures = evidence["note"].split("\n\n", 1)
signed = [base64.b64decode(line.split(" ")[2]) for line in signatures.splitlines() if line.split(" ")[1] == name]
signed = [one[4:] for one in signed if one[:4].hex() == key_id]
must(signed, "the key has not signed the checkpoint")
Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:]).verify(signed[0], (text + "\n").encode())
origin, size, root = text.split("\n")[:3]
must(origin == "headwater/" + evidence["log"], "the checkpoint is of another log")
events, stages = {}, {}
for e in evidence["events"]:
    stream, revision, node, last = e["stream"], e["revision"], e["leaf"], int(size) - 1
    where = f"{stream}@{revision}"
    named = hashlib.sha1(bytes.fromhex("8f0bd8f65a0a5b0f9d3e6c1f3a0e7b52") + f"{stream}\0{revision}\0".encode() + sha(e["data"]))
    must(e["id"] == str(uuid.UUID(bytes=named.digest()[:16], version=5)), where + " does not have the id of its content")
    must({len(one) for one in [e["previous"], *e["proof"]]} == {32} and 0 <= node <= last, where + " has hashes or a leaf that are none")
    digest = sha(b"\1", e["previous"], pack([1, stream, revision, e["id"], e["type"], e["data"]]))
    hashed = sha(b"\0", pack([stream, revision, digest]))
    for sibling in e["proof"]:  # RFC 9162, 2.1.3.2
        if node % 2 or node == last:
            hashed = sha(b"\1", sibling, hashed)
            while node and node % 2 == 0: node, last = node // 2, last // 2
        else: hashed = sha(b"\1", hashed, sibling)
        node, last = node // 2, last // 2
    must(last == 0 and hashed == base64.b64decode(root), where + " is not in the tree that was signed")
    data = unpack(e["data"])
    events.setdefault(stream, []).append(data)
    if e["type"] == "PipelineDeployed": stages[data["deployment"]] = data["stages"]
for address, record in evidence["records"]:
    stream, n, k, stage = re.fullmatch(r"(.+)@(0|[1-9]\d*)(?:\.(0|[1-9]\d*)/(.+))?", address, re.ASCII).groups()
    event = next((d for d in events.get(stream, []) if d.get("first", 0) <= int(n) < d.get("first", 0) + d.get("count", 0)), None)
    must(event, address + " is in none of the events")
    digests, row = event.get("digests"), int(n) - event["first"]
    if stage is not None:
        at = [s["name"] for s in stages[event["deployment"]] if s["segment"] == stream.split(".")[1]].index(stage)
        digests, row = event["stages"][at]["digests"], [of for of, i in enumerate(inputs(event, at)) if i == row][int(k)]
    must(sha(record) == digests[32 * row:][:32], address + " is not what was processed")
    print(address, sha(record).hex(), unpack(record))
print(f'{len(evidence["records"])} records are proven by {len(evidence["events"])} events of the {size} signed by {name}')
