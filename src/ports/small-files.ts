/** Files that are read and written whole: keys and notes, of at most `LIMITS.noteBytes` bytes, and evidence. */
export interface SmallFiles {
  /** The text of the file. Throws `BadInput` when it is missing, unreadable, too large or no text. */
  read(path: string): Promise<string>;
  /**
   * The text of a file that is to be replaced; `undefined` if there is none. Throws as {@link SmallFiles.read}, and
   * `BadUsage` where there is no folder for one.
   */
  find(path: string): Promise<string | undefined>;
  /**
   * Makes a file, durable when it resolves. A `secret` one can be read by its owner alone. Throws `ForeignOutput` when
   * there is one already, `BadUsage` where there is no folder for it, and `OutputFailed`.
   */
  create(path: string, text: string, options?: { readonly secret?: boolean }): Promise<void>;
  /** Makes or replaces a file: a reader sees the old or the new text, whatever happens. Throws `OutputFailed`. */
  replace(path: string, text: string): Promise<void>;
  /** The bytes of the file, of at most `LIMITS.evidenceBytes`; `-` is standard input. Throws as {@link SmallFiles.read}. */
  readBytes(path: string): Promise<Uint8Array>;
  /** The bytes of a file that is to be replaced: as {@link SmallFiles.find}. */
  findBytes(path: string): Promise<Uint8Array | undefined>;
  /** As {@link SmallFiles.replace}. */
  replaceBytes(path: string, bytes: Uint8Array): Promise<void>;
}
