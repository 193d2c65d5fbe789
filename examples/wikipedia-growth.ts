/**
 * By how much each Wikipedia (channel) grows, and which edits make a page shorter. It has a bug: nothing ever gets
 * shorter. examples/wikipedia-growth-fixed.ts is the fix; what it would have made of a day that was recorded tells
 *
 *     headwater run examples/wikipedia-growth.ts --input edits=edits.jsonl.gz
 *     headwater replay wikipedia-growth --what-if examples/wikipedia-growth-fixed.ts --diff differences.jsonl
 */
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
  .map("growth", ({ channel, page, added }) => ({ channel, page, grown: added }));

growth
  .reduce("totals", {
    init: () => 0,
    step: (total, { grown }) => total + grown,
    emit: (total, channel) => ({ channel, total }),
  })
  .sink("channels");

growth.filter("shrunk", ({ grown }) => grown < 0).sink("shrunk");

export default p;
