# Headwater's command, with one example and its data: see docker-compose.yml.

FROM node:24.11.1-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The scripts of dependencies only compile what comes compiled; the project's own, "prepare", needs its sources.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY projections ./projections
COPY actors ./actors
COPY src ./src
COPY scripts ./scripts
RUN npm run build

FROM node:24.11.1-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Without scripts, as above: "prepare" would call the compiler, which only the first stage has.
RUN npm ci --omit=dev --ignore-scripts && npm cache clean --force
COPY bin ./bin
COPY docker/healthcheck.js ./docker/
COPY --from=build /app/dist ./dist
# What the example needs beside Headwater.
COPY examples ./examples
COPY --from=build /app/node_modules/zod ./node_modules/zod
COPY --from=build /app/node_modules/vega-datasets/data/earthquakes.json ./data/
# The folder for an LMDB log or for outputs, if one is wanted: -v …:/work.
RUN mkdir /work && chown node:node /work
USER node
ENTRYPOINT ["node", "/app/bin/headwater.js"]
CMD ["--help"]
