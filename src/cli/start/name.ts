/** Sets the relay's name: `asfaleia start` writes it to a file, which the relay reads twice a second. */
import type { Socket } from 'node:net'
import { rename, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { greet } from '../../operator/probe.ts'
import { parseTarget } from '../../transport/address.ts'
import { connectTarget } from '../../transport/socks.ts'

/** How long to wait until the relay has read the file; it normally takes half a second. */
const KNOWN_MS = 5_000
const TRY_AGAIN_MS = 50

/**
 * Gives the relay this name and no other. Resolves when the relay answers to it, so that commands printed afterwards
 * work at once, or after 5 seconds.
 * @param tcp the address of the relay's TCP listener, to ask; '' does not wait
 */
export async function setName(nameFile: string, name: string, tcp: string, signal: AbortSignal): Promise<void> {
  await writeFile(`${nameFile}.new`, `${name}\n`, { mode: 0o600 })
  await rename(`${nameFile}.new`, nameFile)
  if (tcp === '') return
  const over = AbortSignal.any([signal, AbortSignal.timeout(KNOWN_MS)])
  while (!over.aborted && !(await answersTo(name, tcp, over))) await delay(TRY_AGAIN_MS, undefined, { signal: over }).catch(() => {})
}

async function answersTo(name: string, tcp: string, signal: AbortSignal): Promise<boolean> {
  let socket: Socket | undefined
  try {
    socket = await connectTarget(parseTarget(tcp), { kind: 'direct' }, { timeout: KNOWN_MS, signal })
    return (await greet(socket, name, signal)).reached
  } catch {
    return false
  } finally {
    socket?.destroy()
  }
}
