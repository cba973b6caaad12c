/** The other end of a unix socket, which answers with an input of the search. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** Writes there do not wait for a disk. */
const MEMORY = '/dev/shm'

/** Makes a folder that goes at the end of the process. */
export function makeFolder(): string {
  const folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), 'asfaleia-fuzz-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

export interface Peer {
  readonly path: string
  /** What it does with the next connections. */
  play(serve: (socket: Socket) => void): void
}

/** Starts a server that does not keep the process alive. */
export async function startPeer(): Promise<Peer> {
  const path = join(makeFolder(), 'socket')
  let serve: (socket: Socket) => void = () => {}
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    serve(socket)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  server.unref()
  return {
    path,
    play(next) {
      serve = next
    },
  }
}
