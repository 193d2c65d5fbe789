/**
 * Wikipedia edits in windows of event time: how many there were and how much they added, for each channel (the
 * language of the wiki) in each ten minutes, and how long each user kept editing. Reads JSON lines such as
 * {"time": "2015-09-12T00:47:35.776Z", "channel": "#vi.wikipedia", "user": "ThitxongkhoiAWB", "added": 36, …}.
 */
import { count, pipeline, session, sum, tumbling } from "headwater";
import { z } from "zod";

const Edit = z.looseObject({
  time: z.iso.datetime(),
  channel: z.string(),
  user: z.string(),
  added: z.number(),
});

const iso = (ms: number) => new Date(ms).toISOString();

const p = pipeline("wikipedia-windows");

const edits = p.source("edits", {
  schema: Edit,
  key: (edit) => edit.channel,
  eventTime: (edit) => edit.time,
  // Edits may come up to an hour out of order: so much later windows give their results.
  watermark: { outOfOrderness: "1h" },
});

edits
  .window("ten-minutes", tumbling("10m"), {
    aggregate: { edits: count(), added: sum((edit) => edit.added) },
    emit: (totals, { key: channel, start, end }) => ({
      channel,
      start: iso(start),
      end: iso(end),
      ...totals,
    }),
  })
  .sink("per-channel");

edits
  .keyBy("by-user", (edit) => edit.user)
  .window("visits", session("30m"), {
    aggregate: count(),
    // A session ends half an hour after its last edit.
    emit: (edits, { key: user, start, end }) => ({ user, start: iso(start), end: iso(end), edits }),
  })
  .sink("sessions");

export default p;
