import { HeadwaterError, isHeadwaterError } from "../core/errors.ts";
import { formatPosition } from "../core/position.ts";
import type { EventLog } from "../ports/event-log.ts";
import { openViewStore } from "../runtime/compose.ts";
import { LineageView } from "../runtime/lineage-view.ts";
import type { ViewOptions } from "./lineage-types.ts";

/**
 * Opens the index of a log, has it follow the log to where that ends now, hands it to `use`, and closes it. Throws
 * `ViewBehind` instead of following where it is not to be waited for. Where the index was damaged it is made anew, and
 * `use` is called again.
 */
export async function withLineageView<T>(
  spec: string,
  log: EventLog,
  {
    views,
    rebuild = false,
    wait = true,
    onProgress,
    onPutBack,
    signal,
  }: ViewOptions & { readonly signal?: AbortSignal },
  use: (view: LineageView) => Promise<T>,
): Promise<T> {
  let store = await openViewStore(spec, log, views);
  const answer = async (anew: boolean) => {
    const view = await LineageView.open(store, log);
    if (anew) await view.drop();
    else if (view.putBack) onPutBack?.();
    if (!wait) await mustBeThere(view, log);
    await view.catchUp(signal, ({ position, end }) => {
      onProgress?.(end.commit === 0n ? 1 : Number((position.commit * 1_000n) / end.commit) / 1_000);
    });
    return use(view);
  };
  try {
    try {
      return await answer(rebuild);
    } catch (error) {
      if (!isHeadwaterError(error, "ViewDamaged")) throw error;
      await store.discard();
      store = await openViewStore(spec, log, views);
      return await answer(false);
    }
  } finally {
    await store.close();
  }
}

async function mustBeThere(view: LineageView, log: EventLog): Promise<void> {
  if (!(await view.isBehind())) return;
  const { position } = await log.size();
  throw new HeadwaterError("ViewBehind", "the index has not come to the end of the log", {
    where: `at ${formatPosition(view.position)} of ${formatPosition(position)}`,
    hint: "Without --no-wait it follows the log first, and then answers.",
  });
}
