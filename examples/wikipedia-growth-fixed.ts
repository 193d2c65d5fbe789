/** examples/wikipedia-growth.ts, with what an edit deletes taken off. */
import { pipeline } from "headwater";
import { z } from "zod";

const Edit = z.looseObject({
  time: z.string(),
  channel: z.string(),
  page: z.string(),
  added: z.number(),
  deleted: z.number(),
});

const p = pipeline("wikipedia-growth");

const growth = p
  .source("edits", { schema: Edit, key: (edit) => edit.channel, eventTime: (edit) => edit.time })
  .map("growth", ({ channel, page, added, deleted }) => ({ channel, page, grown: added - deleted }));

growth
  .reduce("totals", {
    init: () => 0,
    step: (total, { grown }) => total + grown,
    emit: (total, channel) => ({ channel, total }),
  })
  .sink("channels");

growth.filter("shrunk", ({ grown }) => grown < 0).sink("shrunk");

export default p;
