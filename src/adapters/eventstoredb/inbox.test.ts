import { describe, expect, it } from "vitest";
import { START } from "../../core/position.ts";
import { BOUNDS } from "./bounds.ts";
import type { ServerEvent } from "./events.ts";
import { Inbox } from "./inbox.ts";

function event(stream: string, revision: number, more: Partial<ServerEvent> = {}): ServerEvent {
  const bytes = new Uint8Array(1);
  const base = { id: "", type: "Tested", stream, revision, position: START, created: 0 };
  return { ...base, data: bytes, metadata: bytes, ...more } as ServerEvent;
}

async function opened(): Promise<Inbox> {
  const inbox = new Inbox((stream) => stream === "mine");
  inbox.open();
  expect(await inbox.start(undefined)).toBe(true);
  return inbox;
}

const signal = new AbortController().signal;

describe("a subscriber's inbox", () => {
  it("gives what came, once and in order, and nothing of others", async () => {
    const inbox = await opened();
    for (let revision = 0; revision < 5; revision++) {
      inbox.put(event("other", revision));
      inbox.put(event("mine", revision));
    }
    const taken = await inbox.take(signal);
    expect(taken).toMatchObject({
      kind: "events",
      events: [0, 1, 2, 3, 4].map((revision) => ({ revision })),
    });
  });

  it.each([
    ["events", BOUNDS.inboxEvents + 1, 1],
    ["bytes", 5, BOUNDS.inboxBytes / 4],
  ])(
    "lets all of it go when it is full by its %s, and says that it has missed something",
    async (_, count, size) => {
      const inbox = await opened();
      for (let revision = 0; revision < count; revision++) {
        inbox.put(event("mine", revision, { data: new Uint8Array(size) }));
      }
      expect(await inbox.take(signal)).toEqual({ kind: "missed" });
      // What comes before it begins again would leave a gap.
      inbox.put(event("mine", count));
      expect(await inbox.take(signal)).toEqual({ kind: "missed" });
      expect(await inbox.start(signal)).toBe(true);
      inbox.put(event("mine", count + 1));
      expect(await inbox.take(signal)).toMatchObject({ kind: "events", events: [{ revision: count + 1 }] });
    },
  );

  it("says so, too, when the feed breaks off, or the stream has ended for ever", async () => {
    for (const end of [
      (inbox: Inbox) => inbox.interrupt(),
      (inbox: Inbox) => inbox.put(event("mine", 1, { endsStream: true })),
    ]) {
      const inbox = await opened();
      inbox.put(event("mine", 0));
      end(inbox);
      expect(await inbox.take(signal)).toEqual({ kind: "missed" });
    }
  });

  it("says how far it is when nothing passes for a while", async () => {
    const inbox = await opened();
    for (let revision = 0; revision < BOUNDS.progressEvents; revision++) inbox.put(event("other", revision));
    expect(await inbox.take(signal)).toMatchObject({ kind: "progress" });
  });
});
