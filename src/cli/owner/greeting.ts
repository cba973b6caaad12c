/** The first lines between a client and the owner of its profile. */
import { CliError } from '../program/error.ts'
import { Lines } from './lines.ts'
import { type Place, reach } from './place.ts'
import { type Ask, type Hello, PROTOCOL, refuseVersion, type Tell, type Wishes } from './record.ts'

/** How long the owner may take to answer the first line, ms. */
const HELLO_MS = 5_000

/** A connection to the owner after both said hello. */
export interface Greeted {
  readonly lines: Lines<Tell, Ask>
  readonly owner: Extract<Tell, { kind: 'hello' }>
  /** Handles each later line. */
  listen(onTell: (tell: Tell) => void): void
}

/**
 * Connects to the owner and says hello.
 * @returns undefined if there is no owner
 * @throws {CliError} if the owner does not answer, has too many clients, or is of another version
 */
export async function greet(place: Place, hello: Omit<Hello, 'kind' | 'protocol'>, wishes?: Wishes): Promise<Greeted | undefined> {
  const socket = await reach(place)
  if (socket === undefined) return undefined
  const first = Promise.withResolvers<Tell | undefined>()
  const early: Tell[] = []
  let onTell: ((tell: Tell) => void) | undefined
  let isFirst = true
  const lines = new Lines<Tell, Ask>(socket, (tell) => {
    if (isFirst) {
      isFirst = false
      lines.trust()
      first.resolve(tell)
    } else if (onTell === undefined) early.push(tell)
    else onTell(tell)
  })
  void lines.closed.then(() => first.resolve(undefined))
  lines.send({ kind: 'hello', protocol: PROTOCOL, ...hello, ...(wishes !== undefined && { wishes }) })
  const timer = setTimeout(() => first.resolve({ kind: 'answer', n: 0 }), HELLO_MS)
  const owner = await first.promise
  clearTimeout(timer)
  // It ended just now, so there is another owner soon.
  if (owner === undefined) return undefined
  if (owner.kind === 'hello' && owner.protocol === PROTOCOL)
    return {
      lines,
      owner,
      listen(handle) {
        onTell = handle
        for (const each of early.splice(0)) handle(each)
      },
    }
  lines.destroy()
  if (owner.kind === 'hello') throw refuseVersion(owner)
  if (owner.kind === 'full')
    throw new CliError('too many commands of this profile run at once', { hint: 'wait until some of them have ended' })
  throw new CliError('another asfaleia has this profile and does not answer', { hint: 'is it suspended? `fg` continues it, or end it' })
}
