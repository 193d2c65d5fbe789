/**
 * Earthquakes that two networks of the U.S. Geological Survey reported: reports of different networks, within 100 km
 * and 10 minutes of each other, are joined with each other. Reads the GeoJSON of
 * https://earthquake.usgs.gov/earthquakes/feed/.
 */
import { pipeline } from "headwater";
import { z } from "zod";

const Report = z.looseObject({
  id: z.string(),
  properties: z.looseObject({ time: z.number(), net: z.string() }),
  geometry: z.object({ coordinates: z.tuple([z.number(), z.number(), z.number()]) }),
});

const MOST_KM = 100;
const EARTH_RADIUS_KM = 6_371;
const MS_PER_SECOND = 1_000;

interface Place {
  readonly id: string;
  readonly network: string;
  readonly time: number;
  readonly longitude: number;
  readonly latitude: number;
}

const radians = (degrees: number) => (degrees * Math.PI) / 180;

/** Great-circle distance by the haversine formula. */
function distanceKm(a: Place, b: Place): number {
  const north = Math.sin(radians(b.latitude - a.latitude) / 2) ** 2;
  const east = Math.sin(radians(b.longitude - a.longitude) / 2) ** 2;
  const square = north + Math.cos(radians(a.latitude)) * Math.cos(radians(b.latitude)) * east;
  return 2 * EARTH_RADIUS_KM * Math.asin(Math.min(1, Math.sqrt(square)));
}

const p = pipeline("earthquake-pairs", { partitions: 1 });

const places = p
  .source("usgs", {
    schema: Report,
    id: (report) => report.id,
    // All are near each other as far as a key can tell: the distance is worked out for each pair.
    key: () => "earth",
    eventTime: (report) => report.properties.time,
    // The feed has the latest report first; nothing of a month's feed is late.
    watermark: { outOfOrderness: "31d" },
  })
  .map(
    "place",
    ({ id, properties, geometry: { coordinates } }): Place => ({
      id,
      network: properties.net,
      time: properties.time,
      longitude: coordinates[0],
      latitude: coordinates[1],
    }),
  );

places
  // Each pair once: the second report is the later one.
  .join("near-in-time", places, (first, second) => ({ first, second }), {
    within: { before: 0, after: "10m" },
  })
  .filter(
    "two-networks",
    ({ first, second }) =>
      first.network !== second.network && (first.time < second.time || first.id < second.id),
  )
  .map("pair", ({ first, second }) => ({
    first: first.id,
    second: second.id,
    km: distanceKm(first, second),
    seconds: (second.time - first.time) / MS_PER_SECOND,
  }))
  .filter("near", ({ km }) => km <= MOST_KM)
  .sink("pairs");

export default p;
