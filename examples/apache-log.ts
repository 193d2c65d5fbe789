/**
 * The access log of a web server, in Apache's combined format: each line becomes a request with its fields. Lines that
 * do not parse are quarantined. Reads text, one line a record, also while the log is written and rotated:
 *
 *     npx headwater run examples/apache-log.ts --input lines=/var/log/apache2/access.log --follow --output requests=-
 *
 * With `--set enrich.service=http://…` a service is asked about each host, with `GET SERVICE/HOST`, and its answer, a
 * JSON value, goes along as `about`. Each is asked for once, and kept.
 */
import { type EffectContext, parameter, pipeline } from "headwater";
import { z } from "zod";

/** host ident user [time] "method path protocol" status bytes "referrer" "agent" */
const COMBINED =
  /^(\S+) (\S+) (\S+) \[(\d\d)\/(\w{3})\/(\d{4}):(\d\d:\d\d:\d\d) ([+-]\d\d)(\d\d)\] "(\S+) (\S+) (\S+)" (\d{3}) (\d+|-) "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"$/;

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** The log writes `-` for what there is not. */
const given = (text = "-") => (text === "-" ? null : text);

function parse(line: string) {
  const [matched, host, ident, user, day, name = "", year, time, hours, minutes, ...request] =
    COMBINED.exec(line) ?? [];
  const month = MONTHS.indexOf(name) + 1;
  if (matched === undefined || month === 0) throw new Error("not a line of the combined log format");
  const [method, path, protocol, status, bytes, referrer, agent] = request;
  const date = `${year}-${String(month).padStart(2, "0")}-${day}`;
  // A Date of February 31st is one of March.
  if (new Date(`${date}T00:00Z`).getUTCDate() !== Number(day)) throw new Error(`there is no ${date}`);
  return {
    host,
    ident: given(ident),
    user: given(user),
    time: new Date(`${date}T${time}${hours}:${minutes}`).toISOString(),
    method,
    path,
    protocol,
    status: Number(status),
    bytes: bytes === "-" ? null : Number(bytes),
    referrer: given(referrer),
    agent: given(agent),
  };
}

async function enriched(request: ReturnType<typeof parse>, ctx: EffectContext<{ readonly service: string }>) {
  const about = await ctx.effect(
    "about",
    async ({ key, signal }) => {
      const url = `${ctx.parameters.service}/${encodeURIComponent(request.host ?? "")}`;
      const response = await fetch(url, { headers: { "idempotency-key": key }, signal });
      if (!response.ok) throw new Error(`the service answered ${response.status}`);
      return (await response.json()) as string | number | boolean | null;
    },
    { timeout: "5s", retry: { times: 3, backoff: "100ms" }, concurrency: 64 },
  );
  return { ...request, about };
}

const p = pipeline("apache-log");

p.source("lines", { schema: z.object({ line: z.string() }) })
  .map("parse", ({ line }) => parse(line))
  .map("enrich", (request, ctx) => (ctx.parameters.service === "" ? request : enriched(request, ctx)), {
    parameters: { service: parameter(z.string(), "") },
  })
  .sink("requests");

export default p;
