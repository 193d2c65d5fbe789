/**
 * Every bound of the system, with its unit in its name. Checked where a value comes in; relied upon after that.
 */
export const LIMITS = {
  /** Canonical bytes of one record. */
  recordBytes: 768 * 1024,
  /** Nesting of maps and arrays in one record. */
  recordDepth: 128,
  /** A micro-batch is closed when its records hold this many canonical bytes. */
  batchBytes: 512 * 1024,
  /** Or when the sender's ids of its records have this many characters: they are in the event itself. */
  batchIdChars: 64 * 1024,
  /** Records in a micro-batch unless a pipeline says otherwise, and at most. */
  batchRecords: 1_024,
  batchRecordsMost: 8_192,
  /** A batch is closed this long after its first record, and an idle owner says how far it is this often. */
  tickMs: 10,
  tickMsMost: 60_000,
  /** Partitions of a pipeline unless it says otherwise, and at most: a re-keyed segment reads each from each. */
  partitions: 8,
  partitionsMost: 128,
  /** Data, metadata and types of one append, all its events together: what every store takes. */
  appendBytes: 1024 * 1024,
  /** Events of one append: what is sent with each of them has to fit into one message, too. */
  appendEvents: 16_384,
  /** Outputs of one input of a segment; more quarantine the input. Their digests have to fit into one append. */
  outputsPerInput: 1_024,
  /** Rows of a stage in one event, or records that one is about: more than any batch can come to. */
  eventRows: 8_192 * 1_024,
  /** Canonical bytes of the outputs of one input of a flatMap; more quarantine the input. */
  outputBytesPerInput: 16 * 1024 * 1024,
  /** Records, and their bytes, that a reader holds before it reads on. */
  queuedRecords: 4_096,
  queuedBytes: 4 * 1024 * 1024,
  /** Events whose records a reader has begun to read, or has read and not queued. */
  payloadReadsAhead: 4,
  /** Bytes of accepted records that are not through the pipeline yet. */
  inFlightBytes: 64 * 1024 * 1024,
  /** Accepted records that are not through the pipeline yet; at this many a door says "later". */
  inFlightRecords: 16_384,
  /** Sender's ids that a door remembers to find duplicates. */
  duplicateHorizonIds: 131_072,
  /** Inputs whose progress a door keeps in mind. */
  knownInputs: 32_768,
  /** Claims after which it says all of them again, at least, or a claim for so many of them; bytes of one such claim. */
  claimsPerListing: 64,
  inputsPerClaim: 16,
  claimInputBytes: 256 * 1024,
  /** Events of small inputs, each left for the next, that a door appends together. */
  doorEventsWaiting: 128,
  /** Files that one folder may have; at so many a run that follows it says that there will soon be too many. */
  filesPerFolder: 16_384,
  filesPerFolderMany: 14_336,
  /** Files that are kept open while they are followed: what has more rests, if it was quiet for longest. */
  openFiles: 256,
  /** How often a followed file or folder is looked at; less often if one look takes longer than this part of that. */
  followMs: 200,
  followShare: 1 / 4,
  followMsMost: 10_000,
  /** Of files of a folder so many first bytes are kept, by which it is found out which of them may be copies. */
  startBytes: 64,
  /** A file that has so much of the beginning of another one, and nothing else, is a copy, however long it rests. */
  copiedBytes: 4 * 1024,
  /** One that has less counts as one of its own, if it is still like that after this long. */
  copyRestMs: 3_000,
  /** A followed file that no name stands for any more is looked at for so long after it was written last. */
  rotatedWatchMs: 60_000,
  /** At most so many of them, and so many are looked through for the one in which the last run stopped. */
  rotatedFiles: 16,
  /** Characters of a sender's id. */
  idChars: 1_024,
  /** Bytes of a refused record that are kept. */
  rejectedFrameBytes: 64 * 1024,
  /** The watermark rises by at least this much event time. */
  watermarkStepMs: 1_000,
  /** Or by the bound for records out of order divided by this. */
  watermarkStepsPerBound: 64,
  /** A record whose event time is further ahead of all before it than this is not believed at once. */
  timeAheadMs: 24 * 3_600_000,
  /** So many in a row are. */
  timeAheadRecords: 8,
  /** Panes that one record may belong to: the size of a sliding window by its slide. */
  panesPerRecord: 1_024,
  /** Results, and bytes of members, of the first stage of a segment in one batch before it is closed. */
  resultsPerBatch: 8_192,
  memberBytesPerBatch: 128 * 1024,
  /** Members of results with more bytes than this are kept in events of their own. */
  memberBytesInline: 192 * 1024,
  /** Bytes of just-committed events that an embedded log keeps in memory for its subscribers. */
  recentEventsBytes: 16 * 1024 * 1024,
  /** Bytes of events that who reads a log and holds it to its digests keeps, because it may read them again. */
  knownEventsBytes: 8 * 1024 * 1024,
  /** Another process's events are seen within this time. */
  pollMs: 20,
  /** A snapshot is taken after this many inputs of a partition, or after as many as there are entries, if more. */
  snapshotInputs: 16_384,
  /**
   * Where history is let go of, a partition takes one after this long, too, in milliseconds, or after so many times as
   * long as the last one took: what came before it can be let go of.
   */
  snapshotEveryMs: 10_000,
  snapshotTimes: 20,
  /** How often it is looked whether history can be let go of, and after a failure, in milliseconds. */
  retentionTickMs: 2_000,
  retentionAgainMs: 30_000,
  /**
   * At least so much of a stream, as a part of 1, is let go of at once, because what is let go of is said in an event; and
   * of others together with it.
   */
  retentionPart: 1 / 8,
  retentionAlongPart: 1 / 32,
  /** Words of supervisors that are kept where history is let go of, and nothing is said of steps, in milliseconds. */
  supervisorKeptMs: 3_600_000,
  /** Streams that one such event names. */
  retentionStreams: 1_024,
  /** Times that an event of a pipeline is appended when other processes append some, too. */
  pipelineAttempts: 16,
  /** Bytes of one chunk of a snapshot, of deployed code, of a quarantined batch. */
  chunkBytes: 512 * 1024,
  /** A process says that it lives this often; three silent intervals count as dead. */
  heartbeatMs: 1_000,
  heartbeatsMissed: 3,
  /** Bytes of what is read of a log for a thread that are on their way to it, for each thing that it reads. */
  threadWindowBytes: 1024 * 1024,
  /** And in one piece, unless a single event is larger. */
  threadFrameBytes: 256 * 1024,
  /** What such a piece refers to comes along with it, about so many bytes of it. */
  threadAlongBytes: 1024 * 1024,
  /** Bytes of events that a thread keeps because another of its partitions may read them, too. */
  threadKnownBytes: 4 * 1024 * 1024,
  /** A thread says that it lives this often. */
  threadBeatMs: 100,
  /** A thread that is at one record for this long without a word counts as hanging, unless a run says otherwise. */
  hangAfterMs: 10_000,
  hangAfterMsLeast: 500,
  hangAfterMsMost: 24 * 3_600_000,
  /** Without threads it is said that a function has kept everything for so long, and looked for that this often. */
  stallToldMs: 10_000,
  stallLookMs: 500,
  /** MiB of a thread's heap unless a run says otherwise. */
  threadMemoryMb: 1_024,
  threadMemoryMbLeast: 32,
  threadMemoryMbMost: 65_536,
  /** A record that ends its thread this often, being the only one that was worked at, is not tried again. */
  deathsOfOneRecord: 2,
  /** Nodes that may be lost one after the other with no record recorded in between. */
  lossesInARow: 10,
  /** A thread that is to end does so within this time. */
  threadEndMs: 2_000,
  /** Times that a claim is tried where a former owner's last append comes between. */
  claimAttempts: 4,
  /** Stand-bys claim at different times: each waits up to this much longer. */
  standByJitterMs: 1_000,
  /** A run that follows its inputs begins again this long after its log failed; after each failure in a row twice as long. */
  beginAgainMs: 250,
  beginAgainMsMost: 8_000,
  /**
   * A sink makes what it wrote durable after this many records or bytes, or this long. Doors wait for it: it has to
   * come well before as much is in flight as may be.
   */
  flushRecords: 4_096,
  flushBytes: 4 * 1024 * 1024,
  flushMs: 200,
  /** Bytes and records of one POST to a receiver, unless a single record is larger. */
  postBytes: 1024 * 1024,
  postRecords: 1_024,
  /** A receiver has to answer within this time, unless it is said otherwise, and at most. */
  postTimeoutMs: 30_000,
  postTimeoutMsMost: 3_600_000,
  /** What a receiver did not take is sent again after this long; after each failure in a row twice as long. */
  sendAgainMs: 250,
  sendAgainMsMost: 30_000,
  /** What a receiver asks to wait counts up to this. */
  retryAfterMsMost: 300_000,
  /** Characters of a receiver's answer that are read. */
  answerChars: 300,
  /** The least size, and time, for which an output file is begun. */
  rotateBytesLeast: 1_024,
  rotateMsLeast: 1_000,
  /** A run that is asked to stop takes this long at most to finish what is in flight, unless it is said otherwise. */
  drainMs: 30_000,
  drainMsMost: 86_400_000,
  /** And whoever is stopped because that was over has so long until what it has on its way to the log is there. */
  letGoMs: 1_000,
  /** Characters of a pipeline's, source's, stage's, sink's or parameter's name. */
  nameChars: 64,
  /** Canonical bytes of the values of a pipeline's parameters together: they are in the event of its deployment. */
  parametersBytes: 64 * 1024,
  /** Characters of a signing key's name. */
  keyNameChars: 256,
  /** Bytes of a signed note, and of a file with a key, and signatures in a note. */
  noteBytes: 64 * 1024,
  noteSignatures: 64,
  /** Leaves of the Merkle tree in one event, and bytes of the names of their streams. */
  leavesPerEvent: 4_096,
  leafNamesBytes: 128 * 1024,
  /** Times that a checkpoint is tried when other processes are at the same. */
  sequencerAttempts: 16,
  /** Records that lineage shows unless it is told another number, and at most. */
  lineageRecords: 1_000,
  lineageRecordsMost: 1_000_000,
  /** Records that a search shows unless it is told another number. */
  searchRecords: 100,
  /** Events that whoever looks for records keeps decoded, and places that it remembers of one stream. */
  lineageCachedEvents: 128,
  lineageProbes: 4_096,
  /** Payloads of events that it keeps. */
  lineageCachedPayloads: 16,
  /** Events whose records are made again from their partition's state, for one answer: each may take a while. */
  lineageReruns: 16,
  /** Events that a view takes in, or pages that it fills, before it commits: a page has some 4 KiB. */
  viewEventsPerCommit: 2_048,
  /** The least time between checkpoints, and how long a command that is given one may take, in milliseconds. */
  checkpointEveryMs: 100,
  checkpointCommandMs: 60_000,
  /** Records whose lineage one file of evidence proves, and bytes of such a file. */
  evidenceRecords: 10_000,
  evidenceBytes: 1024 * 1024 * 1024,
  viewPagesPerCommit: 2_048,
  /** Chunks of a view's index that are merged into one. */
  viewChunksMerged: 16,
  /** Failures of one check that an audit tells one by one. */
  auditFailures: 100,
  /** Events after which an audit says how far it is. */
  auditProgressEvents: 256,
  /** Times that a stage or effect tries again at most, how long it waits first and at most, and how that grows. */
  retriesMost: 100,
  retryBackoffMs: 100,
  retryBackoffMsMost: 10_000,
  retryFactor: 2,
  retryFactorMost: 100,
  /** The longest that may be waited before a try, or for an answer. */
  waitMsMost: 3_600_000,
  /** How long an effect waits for an answer unless it says otherwise. */
  effectTimeoutMs: 30_000,
  /** Calls of one effect of one stage that are under way in a process, unless it says otherwise, and at most. */
  effectConcurrency: 16,
  effectConcurrencyMost: 1_024,
  /** What came of an effect is on its way to the log after this long at most, whatever a pipeline's tick is. */
  effectFlushMs: 10,
  /** Characters of an effect's name. */
  effectNameChars: 128,
  /** A stage that waits for one record's function for so long says so. */
  waitToldMs: 5_000,
  /** Records of a batch whose functions wait at a time. */
  waitingRecords: 1_024,
  /** Canonical bytes of a total or left record, and of members, that are kept of a firing at which a stage failed. */
  firingBytes: 128 * 1024,
  /** Records that one event asks to put back, or discards. */
  retryItems: 2_048,
  /** Events of one append that asks for more of them than that: all or none. */
  retryEvents: 4,
  /** Times that a retry is tried when other processes ask for records, too. */
  retryAttempts: 16,
  /** Asked records that a partition or door holds before it reads on. */
  retryQueue: 4_096,
  /** Events of a sink that is left out that are looked at to find where it delivered to last: what counts nothing is passed over. */
  leftOutLooks: 4_096,
  /** Quarantined records that are listed unless more are asked for. */
  quarantineListed: 100,
  /**
   * Runs of refused records of one stream of which an audit remembers that something was decided about them, so that it
   * sees when that is done twice. Those that are decided about together make one run.
   */
  auditIntervals: 65_536,
  /** Inputs of a partition that its window or join did not take in, of which an audit remembers that no result has them. */
  auditInputsLeftOut: 65_536,
  /** Inputs of a partition of which an audit remembers, at each reduce, whether a step goes on from theirs: a multiple of 8. */
  auditStepsNamed: 65_536,
  /** Bytes of events that an audit keeps in mind because others take records from them; what is older is read again. */
  auditRecentBytes: 64 * 1024 * 1024,
  /** What an audit is given at once, or so many bytes of events, after it was looked whether more was let go of. */
  auditHeldItems: 256,
  auditHeldBytes: 4 * 1024 * 1024,
  /** Events that are read again at once. */
  auditReadEvents: 32,
  /** Differences of each kind that are shown of each sink, and fields that are counted of each. */
  diffExamples: 5,
  diffFields: 256,
  /** Bytes of outputs of records that were put back, or of such that were refused again, that are brought into order at a time. */
  putBackSortedBytes: 128 * 1024 * 1024,
  /** Records that were put back, and are remembered by where they had failed, of one part of history. */
  putBackPlaces: 65_536,
  /** How often a replay says how far it is, in milliseconds. */
  replayProgressMs: 500,
  /** How often a replay that only compares writes down how far it is, in milliseconds, and bytes of a value that it keeps there. */
  verificationKeptMs: 1_000,
  verificationValueBytes: 128 * 1024,
  /** A replay that is neither through nor stopped keeps its history from being let go of for so long after its last word. */
  replayHoldsMs: 3 * 24 * 3_600_000,
  /** Partitions of which such a replay writes down which inputs its window has. */
  verificationUnits: 4_096,
  /** Characters of an error's message or stack that is kept in an event. */
  reasonChars: 4_096,
} as const;
