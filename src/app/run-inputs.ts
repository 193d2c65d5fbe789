import { HeadwaterError } from "../core/errors.ts";
import type { Files } from "../ports/files.ts";
import type { Surroundings } from "../runtime/compose.ts";
import { FileIntake } from "../runtime/file-intake.ts";
import { FilesIntake } from "../runtime/files-intake.ts";
import type { Intake } from "../runtime/intake.ts";
import type { FileNotice } from "../runtime/watched-files.ts";
import { looksLikeAddress } from "./run-outputs.ts";
import type { RunRequest } from "./run-types.ts";

/** Opens what a run reads. Throws `BadInput` for what cannot be begun. */
export async function openIntakes(
  surroundings: Surroundings,
  request: RunRequest,
): Promise<Map<string, Intake>> {
  mustHaveInputs(request);
  const intakes = new Map<string, Intake>();
  for (const [source, path] of request.inputs) {
    intakes.set(source, await openIntake(surroundings, request, source, path));
  }
  return intakes;
}

async function openIntake(
  { files, clock }: Surroundings,
  request: RunRequest,
  source: string,
  path: string,
): Promise<Intake> {
  if (looksLikeAddress(path)) {
    throw new HeadwaterError("BadUsage", "an input is a file, a folder, or standard input, and no address", {
      where: path.replace(/\/\/[^/]*@/, "//"),
      hint: `Pipe in what it answers: curl … | headwater run … --input ${source}=-`,
    });
  }
  const format = request.formats?.get(source);
  const again = request.again ?? false;
  const follow = request.follow ?? false;
  const watched = (await files.filesIn(path)) !== undefined || (follow && (await canBeFollowed(files, path)));
  const onFile = (notice: FileNotice) => request.onNotice?.({ kind: "file", source, ...notice });
  if (!watched) {
    const isThere = async (name: string) => (await files.identify(name)) !== undefined;
    return FileIntake.open({ open: () => files.openInput(path, format), again, isThere, onFile });
  }
  return FilesIntake.open({ files, clock, path, format, again, follow, onFile });
}

/** A file can, and one that is not there yet; what is no regular file gives its bytes once. */
async function canBeFollowed(files: Files, path: string): Promise<boolean> {
  if (path === "-") return false;
  return (await files.identify(path)) !== undefined || !(await files.isThere(path));
}

function mustHaveInputs({ formats, inputs }: RunRequest): void {
  for (const source of formats?.keys() ?? []) {
    if (inputs.has(source)) continue;
    throw new HeadwaterError("BadUsage", `a format is given for ${JSON.stringify(source)}, but no input`, {
      where: "--format",
      hint: `Name one with --input ${source}=FILE.`,
    });
  }
}
