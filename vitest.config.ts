import { defineConfig } from "vitest/config";

export default defineConfig({
  resolve: { alias: { headwater: new URL("./src/index.ts", import.meta.url).pathname } },
  test: {
    include: ["src/**/*.test.ts", "actors/**/*.test.ts", "projections/**/*.test.ts", "test/**/*.test.ts"],
    setupFiles: ["test/random-cases.ts"],
    testTimeout: 240_000,
    hookTimeout: 60_000,
    // Two cores: more workers only make process tests wait for each other.
    maxWorkers: 2,
  },
});
