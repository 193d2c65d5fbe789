/**
 * A week of earthquakes as the networks of the U.S. Geological Survey reported them: what is no earthquake
 * (quarry blasts, explosions) is left out, and each report gives its network's totals up to then. Reads the GeoJSON
 * of https://earthquake.usgs.gov/earthquakes/feed/.
 */
import { parameter, pipeline } from "headwater";
import { z } from "zod";

const Report = z.looseObject({
  id: z.string(),
  properties: z.looseObject({
    time: z.number(),
    mag: z.number(),
    type: z.string(),
    net: z.string(),
    place: z.string(),
  }),
  geometry: z.object({ coordinates: z.tuple([z.number(), z.number(), z.number()]) }),
});

/** Radiated energy in joules of an earthquake of magnitude `m`: Gutenberg and Richter, log10 E = 4.8 + 1.5 m. */
const joules = (m: number) => 10 ** (4.8 + 1.5 * m);

const p = pipeline("earthquakes", { partitions: 4 });

const reports = p.source("usgs", {
  schema: Report,
  id: (report) => report.id,
  key: (report) => report.properties.net,
  eventTime: (report) => report.properties.time,
});

const quakes = reports
  .filter("earthquakes-only", (report) => report.properties.type === "earthquake")
  .map("measure", ({ id, properties, geometry }) => ({
    id,
    network: properties.net,
    place: properties.place,
    magnitude: properties.mag,
    depthKm: geometry.coordinates[2],
    joules: joules(properties.mag),
  }));

quakes
  .filter("strong", (quake, ctx) => quake.magnitude >= ctx.parameters.least, {
    parameters: { least: parameter(z.number(), 5) },
  })
  .sink("strong");

quakes
  .reduce("totals", {
    init: () => ({ reports: 0, strongest: Number.NEGATIVE_INFINITY, joules: 0 }),
    step: (total, quake) => ({
      reports: total.reports + 1,
      strongest: Math.max(total.strongest, quake.magnitude),
      joules: total.joules + quake.joules,
    }),
    emit: (total, network) => ({ network, ...total }),
  })
  .sink("networks");

export default p;
