/** A registry of images for tests: Debian's docker-registry, on loopback. The engine takes it without TLS there. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { start } from './process.ts'

export interface Registry {
  /** `127.0.0.1:PORT` */
  readonly host: string
  stop(): Promise<void>
}

export async function startRegistry(): Promise<Registry> {
  const folder = mkdtempSync(join(tmpdir(), 'asf-reg-'))
  const port = await freePort()
  // JSON is YAML.
  const settings = {
    version: 0.1,
    log: { level: 'error', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: folder } },
    http: { addr: `127.0.0.1:${port}` },
  }
  writeFileSync(join(folder, 'config.yml'), JSON.stringify(settings))
  const registry = start(['docker-registry', 'serve', join(folder, 'config.yml')])
  let over = false
  void registry.finished.then(() => (over = true))
  while (!(await listens(port))) {
    if (over) throw new Error(`docker-registry ended: ${(await registry.finished).stderr}`)
    await delay(50)
  }
  return {
    host: `127.0.0.1:${port}`,
    async stop() {
      await registry.end('SIGKILL')
      rmSync(folder, { recursive: true })
    },
  }
}

/** Returns a free port, for a program that cannot choose one. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  const open = await new Promise<boolean>((resolve) => socket.once('connect', () => resolve(true)).once('error', () => resolve(false)))
  socket.destroy()
  return open
}
