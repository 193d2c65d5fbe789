import { run } from "/work/main/src/app/run.ts";
const [,, file, log, out, nodes] = process.argv;
const r = await run({ pipeline: "/work/main/examples/wikipedia-edits.ts", log: log!, inputs: new Map([["edits", file!]]), outputs: new Map(out ? [["channels", out]] : []), nodes: Number(nodes ?? 1), onNotice: (n) => console.error(n) });
console.log(r);
