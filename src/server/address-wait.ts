/** Waiting for an address that another process still has. */
import { ListenError } from '../transport/socket.ts'

const FIRST_PAUSE_MS = 20
/** Each attempt at a unix socket is a connection that a stopped process will have to accept one day. */
const MOST_PAUSE_MS = 1_000

/**
 * Tries again while the address is in use.
 * @param patience for how long, ms; and whether waiting is over for another reason
 * @throws the last attempt's error
 */
export async function waitForAddress<T>(attempt: () => Promise<T>, patience: { readonly ms: number; isOver(): boolean }): Promise<T> {
  const until = performance.now() + patience.ms
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(pause * 1.5, MOST_PAUSE_MS)) {
    try {
      return await attempt()
    } catch (error) {
      const inUse = error instanceof ListenError && error.code === 'EADDRINUSE'
      if (!inUse || patience.isOver() || performance.now() >= until) throw error
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  }
}
