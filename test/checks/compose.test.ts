/** That docker-compose.yml and Dockerfile would work, as far as that shows without an engine. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const text = (name: string) => readFileSync(join(ROOT, name), "utf8");

interface Service {
  readonly image: string;
  readonly build?: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly command?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck: { readonly test: readonly string[] };
}

const compose = parse(text("docker-compose.yml")) as {
  readonly services: Readonly<Record<"eventstore" | "headwater", Service>>;
  readonly volumes: Readonly<Record<string, unknown>>;
};
const { eventstore, headwater } = compose.services;

/** Instructions of the Dockerfile, those of its last stage with `stage` 1. */
const instructions = text("Dockerfile")
  .split("\n")
  .filter((line) => /^[A-Z]+ /.test(line))
  .map((line) => ({
    name: line.slice(0, line.indexOf(" ")),
    rest: line.slice(line.indexOf(" ") + 1).trim(),
  }));
const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === "FROM"));
const copies = instructions
  .filter(({ name }) => name === "COPY")
  .map(({ rest }) => {
    const words = rest.split(/\s+/);
    const fromStage = words[0]?.startsWith("--from=") === true;
    return { fromStage, sources: words.slice(fromStage ? 1 : 0, -1) };
  });

describe("docker-compose.yml", () => {
  it("pins its images, and keeps what a store holds", () => {
    for (const { image } of [eventstore, headwater]) expect(image).toMatch(/:\d+\.\d+\.\d+(-[a-z-]+)?$/);
    expect(eventstore.volumes).toEqual(["events:/var/lib/eventstore"]);
    expect(Object.keys(compose.volumes)).toEqual(["events"]);
  });

  it("opens ports on loopback only, as the server asks for no password", () => {
    expect(eventstore.environment["EVENTSTORE_INSECURE"]).toBe("true");
    for (const port of [...(eventstore.ports ?? []), ...(headwater.ports ?? [])]) {
      expect(port).toMatch(/^127\.0\.0\.1:/);
    }
  });

  it("runs no projections", () => {
    expect(eventstore.environment).toMatchObject({
      EVENTSTORE_RUN_PROJECTIONS: "None",
      EVENTSTORE_START_STANDARD_PROJECTIONS: "false",
    });
  });

  it("looks whether both are well, and starts the second when the first is", () => {
    expect(eventstore.healthcheck.test).toContain("http://localhost:2113/health/live");
    expect(headwater.depends_on).toEqual({ eventstore: { condition: "service_healthy" } });
    const [, program, script] = headwater.healthcheck.test;
    expect(program).toBe("node");
    expect(existsSync(join(ROOT, script ?? ""))).toBe(true);
    expect(text("Dockerfile")).toContain(`COPY ${script} `);
  });

  it("gives the command a pipeline, a source and a sink that are there", () => {
    const { command = [], environment } = headwater;
    expect(environment["HEADWATER_LOG"]).toMatch(/^esdb:\/\/eventstore:2113\b/);
    expect(command[0]).toBe("run");
    const pipeline = command[1] ?? "";
    const source = text(pipeline);
    expect(source).toContain(`pipeline("${headwater.healthcheck.test.at(-1)}"`);
    const given = (option: string) => (command[command.indexOf(option) + 1] ?? "").split("=");
    const [name, file] = given("--input");
    expect(source).toContain(`.source("${name}"`);
    expect(source).toContain(`.sink("${given("--output")[0]}")`);
    expect(file).toBe("data/earthquakes.json");
    expect(text("Dockerfile")).toMatch(/\/earthquakes\.json \.\/data\/$/m);
    expect(
      spawnSync(process.execPath, [join(ROOT, "bin/headwater.js"), "run", "--help"]).stdout.toString(),
    ).toContain("--follow");
  });

  it.skipIf(!hasCompose())("is accepted by docker compose (skipped where that is not installed)", () => {
    const config = execFileSync("docker", [
      "compose",
      "-f",
      join(ROOT, "docker-compose.yml"),
      "config",
      "--quiet",
    ]);
    expect(config.toString()).toBe("");
  });
});

describe("the Dockerfile", () => {
  it("copies only what is there", () => {
    for (const { fromStage, sources } of copies) {
      for (const source of sources) {
        // Of the first stage: what is installed or built there is at the same place here.
        const path = fromStage ? source.replace(/^\/app\//, "") : source;
        expect(existsSync(join(ROOT, path)), source).toBe(true);
      }
    }
  });

  it("copies only what .dockerignore lets through", () => {
    const passed = new Set(
      text(".dockerignore")
        .split("\n")
        .filter((line) => line.startsWith("!"))
        .map((line) => line.slice(1)),
    );
    expect(text(".dockerignore").split("\n")).toContain("*");
    for (const { fromStage, sources } of copies) {
      if (!fromStage) for (const source of sources) expect(passed).toContain(source);
    }
  });

  it("has everything that is built from, and everything that is run", () => {
    const build = JSON.parse(text("tsconfig.build.json")) as { readonly include: readonly string[] };
    const copied = copies.flatMap(({ sources }) => sources);
    for (const folder of build.include) expect(copied).toContain(folder);
    const { bin } = JSON.parse(text("package.json")) as { readonly bin: Readonly<Record<string, string>> };
    const entry = lastStage.find(({ name }) => name === "ENTRYPOINT")?.rest;
    expect(entry).toBe(JSON.stringify(["node", join("/app", bin["headwater"] ?? "")]).replace(",", ", "));
  });

  it("pins its images, installs what the lock file says, and does not run as root", () => {
    const images = instructions.filter(({ name }) => name === "FROM").map(({ rest }) => rest.split(" ")[0]);
    expect(new Set(images).size).toBe(1);
    expect(images[0]).toMatch(/^node:24\.\d+\.\d+-[a-z-]+$/);
    for (const { name, rest } of instructions) {
      if (name !== "RUN" || !rest.includes("npm ")) continue;
      expect(rest).not.toContain("npm install");
      // "prepare" cannot run where there is no compiler, or nothing to compile yet.
      if (rest.includes("npm ci")) expect(rest).toContain("--ignore-scripts");
    }
    expect(lastStage.some(({ rest }) => rest.startsWith("npm ci --omit=dev"))).toBe(true);
    const user = lastStage.findLastIndex(({ name }) => name === "USER");
    expect(lastStage[user]?.rest).toBe("node");
    expect(lastStage.slice(user).some(({ name }) => name === "RUN")).toBe(false);
  });
});

function hasCompose(): boolean {
  return spawnSync("docker", ["compose", "version"], { stdio: "ignore" }).status === 0;
}
