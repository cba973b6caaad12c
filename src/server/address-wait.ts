/** Waiting for an address that another process still has. */
import { ListenError } from '../transport/socket.ts'

const TRY_AGAIN_MS = 20

/**
 * Tries again while the address is in use.
 * @param patience for how long, ms; and whether waiting is over for another reason
 * @throws the last attempt's error
 */
export async function waitForAddress<T>(attempt: () => Promise<T>, patience: { readonly ms: number; isOver(): boolean }): Promise<T> {
  const until = performance.now() + patience.ms
  for (;;) {
    try {
      return await attempt()
    } catch (error) {
      const inUse = error instanceof ListenError && error.code === 'EADDRINUSE'
      if (!inUse || patience.isOver() || performance.now() >= until) throw error
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN_MS))
    }
  }
}
