import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { HeadwaterError } from "../core/errors.ts";
import { auditCommand } from "./audit.ts";
import { badUsage, EXIT, reportError } from "./errors.ts";
import { evidenceCommand, verifyCommand } from "./evidence.ts";
import { type Io, processIo, ReaderGone } from "./io.ts";
import { lineageCommand } from "./lineage.ts";
import { logCommand } from "./log.ts";
import { collect, DEFAULT_LOG } from "./options.ts";
import { checkpointCommand, keygenCommand } from "./proof.ts";
import { quarantineCommand } from "./quarantine.ts";
import { replayCommand } from "./replay.ts";
import { runCommand } from "./run.ts";
import { searchCommand } from "./search.ts";
import { stateCommand } from "./state.ts";

/**
 * The `headwater` command: `argv` without node and script. Answers the exit code (see `errors.ts`); whatever went
 * wrong has been printed.
 */
export async function main(argv: readonly string[], io: Io = processIo()): Promise<number> {
  let code: number = EXIT.ok;
  const texts: { readonly to: "stdout" | "stderr"; readonly text: string }[] = [];
  const program = createProgram(io, texts, (result) => {
    code = result;
  });
  try {
    try {
      await program.parseAsync([...argv], { from: "user" });
    } catch (error) {
      if (!(error instanceof CommanderError)) throw error;
      for (const { to, text } of texts) await io[to].write(text);
      if (error.exitCode === 0) return EXIT.ok;
      // Without a subcommand commander prints the help, which says it all.
      if (error.code === "commander.help") return EXIT.usage;
      throw error;
    }
    return code;
  } catch (error) {
    if (error instanceof ReaderGone) return EXIT.ok;
    return await reportError(io, fromWhere(error, argv), style(argv)).catch(() => EXIT.failed);
  }
}

function createProgram(
  io: Io,
  texts: { readonly to: "stdout" | "stderr"; readonly text: string }[],
  done: (code: number) => void,
): Command {
  const program = new Command("headwater")
    .description("An event-sourced stream processor whose event log is the provenance.")
    .version(version(), "-V, --version")
    .option(
      "--log <log>",
      `the log: lmdb:<folder>, esdb://host:port?tls=false for an EventStoreDB, or memory: (or HEADWATER_LOG; default: ${DEFAULT_LOG}). Its user and password may be in HEADWATER_ESDB_USER and HEADWATER_ESDB_PASSWORD.`,
    )
    .option("--json", "results and errors as JSON")
    .option("--quiet", "no messages, no bars, no report for people")
    .option("--verbose", "say more; errors with their stack");
  program.addCommand(runCommand(io, done));
  program.addCommand(logCommand(io, done));
  program.addCommand(stateCommand(io, done));
  program.addCommand(quarantineCommand(io, done));
  program.addCommand(lineageCommand(io, done));
  program.addCommand(searchCommand(io, done));
  program.addCommand(keygenCommand(io, done));
  program.addCommand(checkpointCommand(io, done));
  program.addCommand(auditCommand(io, done));
  program.addCommand(replayCommand(io, done));
  program.addCommand(evidenceCommand(io, done));
  program.addCommand(verifyCommand(io, done));
  program.hook("preAction", (_, asked) => mustBelong(asked));
  for (const command of all(program)) {
    refuseTwice(command);
    command.exitOverride();
    command.configureHelp({ showGlobalOptions: true });
    command.configureOutput({
      writeOut: (text) => texts.push({ to: "stdout", text }),
      writeErr: (text) => texts.push({ to: "stderr", text }),
      // Errors are printed in one way only: see errors.ts.
      outputError: () => {},
    });
  }
  return program;
}

/** An option of which one value counts is given once: nobody is to guess which one that is. */
function refuseTwice(command: Command): void {
  for (const option of command.options) {
    if (!(option.required || option.optional) || option.parseArg === collect) continue;
    let given = false;
    command.on(`option:${option.name()}`, () => {
      if (given) throw badUsage("the option is given twice", option.long ?? option.flags, "Give it once.");
      given = true;
    });
  }
}

/** What the commands above take for their own has to be meant for the one that is asked. Throws `BadUsage`. */
function mustBelong(asked: Command): void {
  for (let above = asked.parent; above !== null && above.parent !== null; above = above.parent) {
    for (const option of above.options) {
      const own = asked.options.some(({ long }) => long === option.long);
      if (own || above.getOptionValueSource(option.attributeName()) !== "cli") continue;
      throw badUsage(
        `${above.name()} ${asked.name()} has no such option`,
        option.long ?? option.flags,
        `"headwater ${above.name()} ${asked.name()} --help" lists those that it has.`,
      );
    }
  }
}

function all(command: Command): Command[] {
  return [command, ...command.commands.flatMap(all)];
}

/** How errors are shown is asked of the words themselves: what failed may be the reading of the options. */
function style(argv: readonly string[]): { readonly json: boolean; readonly verbose: boolean } {
  const options = optionWords(argv);
  return { json: options.includes("--json"), verbose: options.includes("--verbose") };
}

/** What is wrong with a log's name is looked for where it was given: not in an option that is not there. */
function fromWhere(thrown: unknown, argv: readonly string[]): unknown {
  if (!(thrown instanceof HeadwaterError) || thrown.where !== "--log") return thrown;
  if (optionWords(argv).some((word) => word === "--log" || word.startsWith("--log="))) return thrown;
  const { code, message, hint } = thrown;
  return new HeadwaterError(code, message, {
    where: "HEADWATER_LOG",
    cause: thrown,
    ...(hint !== undefined && { hint }),
  });
}

function optionWords(argv: readonly string[]): readonly string[] {
  const end = argv.indexOf("--");
  return end < 0 ? argv : argv.slice(0, end);
}

/** package.json is two folders above the source, and three above what is built from it. */
function version(): string {
  for (const path of ["../../package.json", "../../../package.json"]) {
    try {
      const { version } = JSON.parse(readFileSync(new URL(path, import.meta.url), "utf8")) as {
        version?: string;
      };
      if (version !== undefined) return version;
    } catch {
      // The other place.
    }
  }
  return "unknown";
}
