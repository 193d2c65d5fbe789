/**
 * Running totals of Wikipedia edits by channel (the language of the wiki): after each edit one record with the
 * channel's totals up to then. Reads JSON lines such as
 * {"time": "2015-09-12T00:47:35.776Z", "channel": "#vi.wikipedia", "added": 36, "deleted": 0, …}.
 */
import { pipeline } from "headwater";
import { z } from "zod";

const Edit = z.looseObject({
  time: z.string(),
  channel: z.string(),
  added: z.number(),
  deleted: z.number(),
});

const p = pipeline("wikipedia-edits");

p.source("edits", { schema: Edit, key: (edit) => edit.channel, eventTime: (edit) => edit.time })
  .reduce("totals", {
    init: () => ({ edits: 0, added: 0, deleted: 0 }),
    step: (total, edit) => ({
      edits: total.edits + 1,
      added: total.added + edit.added,
      deleted: total.deleted + edit.deleted,
    }),
    emit: (total, channel) => ({ channel, ...total }),
  })
  .sink("channels");

export default p;
