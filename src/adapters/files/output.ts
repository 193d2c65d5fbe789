import { constants } from "node:fs";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileError, systemCode } from "../../core/file-error.ts";
import type { OutputFile } from "../../ports/files.ts";

/** Opens a file for writing at positions; made if it is missing. Throws `OutputFailed`. */
export async function openOutputFile(path: string): Promise<OutputFile> {
  try {
    const absolute = resolve(path);
    return new PositionedFile(
      absolute,
      path,
      await open(absolute, constants.O_RDWR | constants.O_CREAT, 0o666),
    );
  } catch (error) {
    throw fileError("OutputFailed", "cannot open the output", path, error);
  }
}

/** See `Files.nameOutput`. */
export async function nameOutputFile(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
    await syncFolder(to);
  } catch (error) {
    throw fileError("OutputFailed", "cannot name the output", to, error);
  }
}

/** See `Files.deleteOutput`. */
export async function deleteOutputFile(path: string): Promise<void> {
  try {
    await rm(path, { force: true });
  } catch (error) {
    throw fileError("OutputFailed", "cannot delete the output", path, error);
  }
}

class PositionedFile implements OutputFile {
  readonly path: string;
  private readonly name: string;
  private readonly file: FileHandle;
  private folderSynced = false;
  private closed = false;

  constructor(path: string, name: string, file: FileHandle) {
    this.path = path;
    this.name = name;
    this.file = file;
  }

  length(): Promise<number> {
    return this.guard("cannot look at the output", async () => (await this.file.stat()).size);
  }

  read(position: number, length: number): Promise<Uint8Array> {
    return this.guard("cannot read the output", async () => {
      const buffer = Buffer.alloc(Math.min(length, Math.max(0, (await this.file.stat()).size - position)));
      let done = 0;
      while (done < buffer.length) {
        const { bytesRead } = await this.file.read(buffer, done, buffer.length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
      return buffer.subarray(0, done);
    });
  }

  write(position: number, bytes: Uint8Array): Promise<void> {
    return this.guard("cannot write the output", async () => {
      let done = 0;
      while (done < bytes.length) {
        const { bytesWritten } = await this.file.write(bytes, done, bytes.length - done, position + done);
        done += bytesWritten;
      }
    });
  }

  truncate(length: number): Promise<void> {
    return this.guard("cannot shorten the output", () => this.file.truncate(length));
  }

  sync(): Promise<void> {
    return this.guard("cannot make the output durable", async () => {
      await this.file.sync().catch(ignoreUnsyncable);
      if (this.folderSynced) return;
      // A new file is lost with its folder's entry, however often it was synced itself.
      await syncFolder(this.path);
      this.folderSynced = true;
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    await this.guard("cannot close the output", () => this.file.close());
  }

  private async guard<T>(what: string, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      throw fileError("OutputFailed", what, this.name, error);
    }
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(dirname(path), "r");
  try {
    await folder.sync().catch(ignoreUnsyncable);
  } finally {
    await folder.close();
  }
}

/** Devices such as /dev/null, and folders on some systems, cannot be synced and need not be. */
function ignoreUnsyncable(error: unknown): void {
  if (!["EINVAL", "ENOTSUP", "EPERM"].includes(systemCode(error))) throw error;
}
