/** Ports of this machine that nobody has. */
import { once } from 'node:events'
import { createServer } from 'node:net'

/** Any that is free. */
export const FREE = '127.0.0.1:0'

/** The port of that number on loopback, or `127.0.0.1:0` if somebody has it. */
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
