/** A clock that runs like the system's and can be put forward. */
import type { Clock } from '../../src/client/messenger/clock.ts'

export interface TestClock extends Clock {
  /** Puts the clock forward and runs every timer that became due, once and in order. */
  skip(milliseconds: number): void
}

/** @param rate how many times as fast as the system's it runs */
export function createClock(rate = 1): TestClock {
  let ahead = 0
  const start = Date.now()
  const waiting = new Set<{ readonly due: number; readonly run: () => void }>()
  const now = (): number => start + (Date.now() - start) * rate + ahead
  return {
    now,
    after(milliseconds, work) {
      const each = {
        due: now() + milliseconds,
        run: () => {
          cancel()
          work()
        },
      }
      const timer = setTimeout(() => each.run(), Math.min(milliseconds / rate, 2 ** 31 - 1))
      const cancel = (): void => {
        clearTimeout(timer)
        waiting.delete(each)
      }
      waiting.add(each)
      return cancel
    },
    skip(milliseconds) {
      ahead += milliseconds
      for (const each of [...waiting].toSorted((a, b) => a.due - b.due)) if (each.due <= now() && waiting.has(each)) each.run()
    },
  }
}
