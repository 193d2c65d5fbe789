/** Bounds of this adapter alone, each with its unit in its name. Those that others rely on are in core/limits.ts. */
export const BOUNDS = {
  /** An answer that has not come after this long is not waited for: the connection is made anew. */
  answerMs: 10_000,
  /** The same for a read that the server may have to look for through many events that a filter holds back. */
  scanMs: 300_000,
  /** The same for a node that is asked why no node of its cluster could be found. */
  gossipMs: 2_000,
  /** A call is repeated for this long; after that the log is unavailable. Longer than an election, or a restart. */
  outageMs: 60_000,
  /** The same when a log is opened: a wrong address is told soon. */
  openMs: 2_000,
  /** Between two tries: this long, then twice as long, up to the second, each with up to half of it by chance. */
  backOffMs: 50,
  backOffMostMs: 2_000,
  /** Appends sent and not answered, and their bytes; more wait. */
  appendsInFlight: 256,
  appendBytesInFlight: 16 * 1024 * 1024,
  /** Streams whose last revision is remembered. */
  knownEnds: 1_024,
  /** Events, and their bytes, that are taken from a connection before who reads has come for them. */
  receivedEvents: 256,
  receivedBytes: 4 * 1024 * 1024,
  /** Live events, and their bytes, kept for one subscriber; with more it reads again from where it was. */
  inboxEvents: 2_048,
  inboxBytes: 4 * 1024 * 1024,
  /** Events of one message to a subscriber, at most. */
  messageEvents: 512,
  /** Events that the server looks through for a page of a filtered read. */
  searchWindow: 1_024,
  /** A filtered subscription says how far it is after this many events. */
  progressEvents: 1_024,
} as const;
