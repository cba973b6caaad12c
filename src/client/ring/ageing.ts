/** What time does to a ring: R3 and R7 (docs/protocol.md, section 13). */
import { type Change, closeRuns } from './receiving.ts'
import { findErased, type Given, type Held, RING, type Ring, without } from './state.ts'

/**
 * Marks keys that are too old, and erases keys that have had a mark for a day. Call it at the start and each hour. A clock that is
 * wrong for an hour erases nothing: the mark goes once the clock is right.
 */
export function onTick(ring: Ring, now: number): Change {
  const given = age(ring.given, now, (key) => isDead(key, now))
  const held = age(ring.held, now, ({ place }) => isPast(place.time, RING.life, now))
  const [last] = ring.last === undefined ? [] : age([ring.last], now, ({ place }) => isPast(place.time, RING.life, now))
  const unread = new Map([...ring.unread].filter(([, { time }]) => !isPast(time, RING.kept, now)))
  const others: Ring = last === undefined ? without(ring, 'last') : { ...ring, last }
  const waits = [...unread.values()].some(({ reported }) => !reported)
  const aged: Ring = { ...(waits ? others : without(others, 'reportAt')), given, held, unread }
  // A message this old would be `stale`: its sender has given it up.
  const next = closeRuns(
    aged,
    aged.runs.filter(({ since }) => isPast(since, RING.usable, now)),
  )
  return { ring: next, erased: findErased(ring, next), events: [] }
}

/** Whether so much time has passed. A time more than a day ahead is one of a wrong clock. */
const isPast = (time: number, life: number, now: number): boolean => now - time >= life || time - now >= RING.grace

const isDead = ({ place, use, until }: Given, now: number): boolean =>
  isPast(place.time, RING.life, now) || (use === 'former' && until !== undefined && now >= until)

function age<Key extends Given | Held>(keys: readonly Key[], now: number, isOver: (key: Key) => boolean): Key[] {
  return keys.flatMap((key): Key[] => {
    const { mark } = key
    if (!isOver(key)) return [mark === undefined ? key : (without(key, 'mark') as Key)]
    if (mark === undefined || mark > now) return [{ ...key, mark: now }]
    return now >= mark + RING.grace ? [] : [key]
  })
}
