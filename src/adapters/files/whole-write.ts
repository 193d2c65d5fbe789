import { fstatSync, writeSync } from "node:fs";
import type { Writable } from "node:stream";

/**
 * Writes all of `content` to a standard stream of this process; resolves when it was taken, and rejects with what the
 * system says. Where the stream is a file, and a part was the last to find room on the disk, Node takes that for all.
 */
export function writeWhole(
  stream: Writable & { readonly fd?: number },
  content: string | Uint8Array,
): Promise<void> {
  if (stream.fd !== undefined && fstatSync(stream.fd).isFile()) return writeToFile(stream.fd, content);
  return new Promise((resolve, reject) => {
    stream.write(content, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

async function writeToFile(fd: number, content: string | Uint8Array): Promise<void> {
  const bytes = typeof content === "string" ? Buffer.from(content, "utf8") : content;
  for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
}
