/**
 * One private Tor network for all suites of a run. It belongs to vitest's own process, because it outlives each
 * suite. It starts when the first suite asks for it by `joinTorNetwork`, and ends with the run.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { startTorNetwork, type TorNetwork } from './tor-network.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** A unix socket that answers each connection with the torrc lines of the network, or ends it if there is no network. */
    readonly torNetwork: string
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const folder = mkdtempSync(join(tmpdir(), 'asf-net-'))
  let network: Promise<TorNetwork> | undefined
  const server = createServer((socket) => {
    socket.on('error', () => {})
    network ??= startTorNetwork()
    network.then(
      ({ torrc }) => socket.end(torrc),
      () => {
        // The next suite tries again.
        network = undefined
        socket.end()
      },
    )
  }).listen(join(folder, 'socket'))
  await once(server, 'listening')
  project.provide('torNetwork', join(folder, 'socket'))
  return async () => {
    server.close()
    await network?.then(
      (running) => running.stop(),
      () => {},
    )
    rmSync(folder, { recursive: true })
  }
}
