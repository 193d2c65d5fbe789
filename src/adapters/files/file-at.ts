import { readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { identityOf } from "./input.ts";

/** Links that one may lead to, one after the other, as in Linux; of what goes in circles nothing can be opened. */
const LINKS_MOST = 40;

/** See `Files.fileAt`. */
export async function fileAt(path: string): Promise<string> {
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) return identityOf(found);
  let place = resolve(path);
  // A link to what is not there yet makes that when it is opened.
  for (let links = 0; links < LINKS_MOST; links++) {
    const folder = await realpath(dirname(place)).catch(() => dirname(place));
    place = join(folder, basename(place));
    const to = await readlink(place).catch(() => undefined);
    if (to === undefined) break;
    place = resolve(folder, to);
  }
  return place;
}
