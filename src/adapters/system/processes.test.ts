import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { createProcesses } from "./processes.ts";

const stat = (pid: number) => {
  const text = readFileSync(`/proc/${pid}/stat`, "utf8");
  return text.slice(text.lastIndexOf(")") + 2).split(" ");
};

it("tells that a process has ended of which its parent has not heard yet", async () => {
  const processes = createProcesses();
  // Becomes a program that never asks what became of its child.
  const parent = spawn("sh", ["-c", "sleep 1000 & echo $!; exec sleep 1000"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  try {
    const [printed] = (await once(parent.stdout, "data")) as [Buffer];
    const pid = Number(printed.toString());
    const boot = processes.instance.slice(0, processes.instance.lastIndexOf(":"));
    const mark = { host: processes.host, pid, instance: `${boot}:${stat(pid)[19]}` };
    expect(processes.isAlive(mark)).toBe(true);
    expect(processes.isAlive({ ...mark, instance: `${boot}:1` })).toBe(false);
    expect(processes.isAlive({ ...mark, host: "another" })).toBeUndefined();
    process.kill(pid, "SIGSTOP");
    expect(processes.isAlive(mark)).toBe(true);
    process.kill(pid, "SIGKILL");
    while (stat(pid)[0] !== "Z") await new Promise((resolve) => setTimeout(resolve, 1));
    expect(processes.isAlive(mark)).toBe(false);
    expect(processes.isAlive(processes)).toBe(true);
  } finally {
    parent.kill("SIGKILL");
  }
});
