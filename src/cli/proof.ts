import { Command } from "commander";
import { EXIT } from "./errors.ts";
import type { Io } from "./io.ts";
import { commonOptions } from "./options.ts";

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
