/** Finds free ports of this machine. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** The address of any free port. */
export const FREE = '127.0.0.1:0'

/** Returns the loopback address with that port, or `127.0.0.1:0` if the port is in use. */
export async function freeAddress(port: number): Promise<string> {
  const server = createServer()
  const free = await new Promise<boolean>((answer) => {
    server.once('error', () => answer(false))
    server.listen(port, '127.0.0.1', () => answer(true))
  })
  if (!free) return FREE
  server.close()
  await once(server, 'close')
  return `127.0.0.1:${port}`
}
