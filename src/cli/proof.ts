import { Command } from "commander";
import { HeadwaterError } from "../core/errors.ts";
import { badUsage, EXIT } from "./errors.ts";
import { asLines, formatNumber } from "./format.ts";
import { listenForInterrupt } from "./interrupt.ts";
import type { Io } from "./io.ts";
import { type CommonOptions, commonOptions } from "./options.ts";

/** The command `headwater keygen`. `done` is told the exit code. */
export function keygenCommand(io: Io, done: (code: number) => void): Command {
  return new Command("keygen")
    .summary("make a key that signs checkpoints")
    .description("Makes an Ed25519 key, keeps it in a file of its own, and prints the key that verifies.")
    .argument("<name>", "whose key it is, such as example.com/audit: no spaces, no plus signs")
    .option("--out <dir>", "the folder for the private key (default: the current one)")
    .action(async (name: string, own: { out?: string }, command: Command) => {
      const common = commonOptions(command.optsWithGlobals(), io);
      const key = await (await io.loadProof()).keygen(name, own.out);
      if (common.json) await io.stdout.write(`${JSON.stringify(key)}\n`);
      else {
        await io.stdout.write(`${key.verifierKey}\n`);
        const note = `headwater: the private key is in ${key.file}; give the verifier key above to whoever is to check\n`;
        if (!common.quiet) await io.stderr.write(note);
      }
      done(EXIT.ok);
    });
}

/** The command `headwater checkpoint`. */
export function checkpointCommand(io: Io, done: (code: number) => void): Command {
  return new Command("checkpoint")
    .summary("sign what the log holds now")
    .description(
      "Signs the log as it is: keep the note elsewhere, and nothing before it can be changed unseen.",
    )
    .requiredOption("--key <file>", "the private key that headwater keygen made")
    .option(
      "--out <file>",
      "where the note goes, in place of an older one of this log (default: standard output)",
    )
    .option("--every <time>", 'sign again and again, such as every "1m", until Ctrl-C')
    .option("--command <command>", "with --every: a command that gets each note on its standard input")
    .action(async (own: CheckpointOptions, command: Command) => {
      const common = commonOptions(command.optsWithGlobals(), io);
      const { every } = own;
      if (every === undefined && own.command !== undefined) {
        throw badUsage(
          "a command is for checkpoints that are signed again and again",
          "--command",
          "Add --every.",
        );
      }
      if (every === undefined) await checkpoint(io, own, common);
      else await checkpoints(io, { ...own, every }, common);
      done(EXIT.ok);
    });
}

interface CheckpointOptions {
  readonly key: string;
  readonly out?: string;
  readonly every?: string;
  readonly command?: string;
}

async function checkpoints(
  io: Io,
  own: CheckpointOptions & { readonly every: string },
  common: CommonOptions,
): Promise<void> {
  const app = await io.loadProof();
  const interrupt = listenForInterrupt(io);
  const say = (text: string) => {
    if (!common.quiet) io.stderr.write(asLines([`headwater: ${text}`])).catch(() => {});
  };
  const print = (note: string) => {
    io.stdout.write(note).catch((error: unknown) => {
      // Who does not want more notes need not be told.
      if (error instanceof HeadwaterError)
        say(`the checkpoint was signed, and not printed: ${error.message}: ${error.where}`);
    });
  };
  try {
    await app.checkpoints({
      log: common.log,
      ...own,
      signal: interrupt.signal,
      onSigned: ({ note, size }) => {
        if (own.out === undefined && own.command === undefined) print(note);
        else say(`${formatNumber(size)} events signed`);
      },
      onNotice: say,
    });
  } finally {
    interrupt.release();
  }
}

async function checkpoint(io: Io, own: CheckpointOptions, common: CommonOptions): Promise<void> {
  const app = await io.loadProof();
  const interrupt = listenForInterrupt(io);
  try {
    const signed = await app.checkpoint({
      log: common.log,
      key: own.key,
      ...(own.out !== undefined && { out: own.out }),
      signal: interrupt.signal,
    });
    const { origin, size, root, note, verifierKey } = signed;
    if (common.json) {
      const shown = { origin, size, root: Buffer.from(root).toString("base64"), note, verifierKey };
      await io.stdout.write(`${JSON.stringify({ ...shown, file: own.out ?? null })}\n`);
    } else if (own.out === undefined) await io.stdout.write(note);
    else if (!common.quiet) {
      await io.stdout.write(`${formatNumber(size)} events signed with ${verifierKey}: ${own.out}\n`);
    }
  } finally {
    interrupt.release();
  }
}
