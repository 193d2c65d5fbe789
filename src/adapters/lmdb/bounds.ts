/** The bounds of this adapter, with their units; every one of them is checked where a value comes in. */
export const BOUNDS = {
  /** Space reserved in the address range; the file itself grows only as it is written. Tried from first to last. */
  mapBytes: [2 ** 40, 2 ** 36, 2 ** 32],
  /** Processes and worker threads that may read at the same time. */
  readers: 512,
  /** Appends that wait for a commit; more wait for admission, in order. */
  queuedJobs: 4_096,
  queuedBytes: 64 * 1024 * 1024,
  /** What one commit takes. */
  commitJobs: 1_024,
  commitBytes: 16 * 1024 * 1024,
  /**
   * What a courteous writer takes into one while others commit; so many times as long as it had the lock it rests. What
   * others wait is by how often it has the lock rather than for how long: most of that is the flush.
   */
  courtesyBytes: 256 * 1024,
  courtesyTimes: 40,
  courtesyMs: 200,
  courtesyMsMost: 300,
  /** Or this part of what waits, if that is more: so even its own sign of life waits for a few seconds at most. */
  courtesyPart: 1 / 16,
  /** Others that have committed so long ago at most are at work. */
  courtesyForMs: 1_000,
  /** Free space that has to be left on the medium beside what a commit writes. */
  spareBytes: 512 * 1024,
  /** What is read before other work gets its turn, and while one snapshot is held. */
  chunkEvents: 256,
  chunkBytes: 1024 * 1024,
  /** Of a stream less is read at first, and then twice as much each time: many readers soon have what they look for. */
  firstChunkBytes: 32 * 1024,
  /** Keys looked at for one chunk when a filter lets little pass. */
  chunkKeys: 4_096,
  /** A live subscriber that has more than this in its buffer goes on from the log. */
  subscriberEvents: 4_096,
  subscriberBytes: 8 * 1024 * 1024,
  /** Events of other processes that are handed to all live subscribers at once; more, and each reads for itself. */
  foreignEvents: 1_024,
  /** Events that a filter may hold back before the subscriber is told how far it is. */
  progressEvents: 1_024,
  /** Events removed in one commit of a scavenge. */
  scavengeEvents: 1_024,
  /** A writer that waits for the lock this long says so. */
  lockPatienceMs: 2_000,
  /** How often it is looked whether a stopped process has let go of the lock. */
  lockLookMs: 50,
  /** Slots of dead readers are looked for this often. */
  readerCheckMs: 60_000,
} as const;
